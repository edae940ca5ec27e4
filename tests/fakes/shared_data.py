"""The folder with the sets that do not ship, as `conftest.py` finds it."""

import os
from pathlib import Path

SHARED_DATA = Path(os.environ["EXHIBIT_DATA"])
