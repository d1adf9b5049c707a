"""`dtvg …`: hand over to the command line."""

import sys

from dtvg.cli import main

if __name__ == "__main__":
    sys.exit(main())
