"""`python -m phonoscope`."""

from phonoscope.cli import main

if __name__ == "__main__":
    main()
