"""The process that writes records to MLflow: `python -m phonoscope.tracking CHECKOUT PROCESS`."""

import logging
import sys
from pathlib import Path

from phonoscope.tracking.writer import follow

logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stderr)
follow(Path(sys.argv[1]), int(sys.argv[2]))
