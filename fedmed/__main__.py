"""`python -m fedmed` is `fedmed`."""

import sys

from fedmed import cli

sys.exit(cli.main())
