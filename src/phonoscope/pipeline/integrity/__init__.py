"""Whether artifacts are what their stages wrote: their hashes, their contents, and whether they agree."""
