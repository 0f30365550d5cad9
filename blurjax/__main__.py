"""`python -m blurjax`: the command line."""

import sys

from blurjax.cli import main

if __name__ == "__main__":
    sys.exit(main())
