"""Entry point of ``python -m ActiveSegmentationLib``."""

import sys

from ActiveSegmentationLib.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
