"""Studies: experiments that join parts of the library."""
