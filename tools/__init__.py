"""Maintainers' commands, outside the package: run with `python -m tools.<name>`."""
