"""One module a kind of codec; its file name is the value of `kind` in the parameters."""
