"""One module a source of speech, which reads one corpus layout; its file name is the name of the source."""
