"""The cloud's process, as it is started: `python -m skylift.cloud`. What it is made of is in main.py."""

from __future__ import annotations

import gc
import sys

if __name__ == "__main__":
    # Before the first import: the objects of a start stay, and a search for garbage would take a sixth of its time. The
    # collector is turned on again once the cloud is ready.
    gc.disable()
    from skylift.cloud.main import main

    sys.exit(main())
