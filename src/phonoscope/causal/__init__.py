"""Whether features do what they seem to: which are tested, against which controls, and how sure the answer is."""
