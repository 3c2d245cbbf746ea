"""What the numbers say: one table of all codecs, figures, verdicts and the answer in words."""
