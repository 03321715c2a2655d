"""``python -m geofold``."""

import sys

from geofold.cli import main

sys.exit(main())
