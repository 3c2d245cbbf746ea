"""`phonoscope bench`: what this repository's way of computing costs against the plain way, on the same made-up data."""
