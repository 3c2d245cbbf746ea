"""A static browser of a site's features."""
