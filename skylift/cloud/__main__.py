"""The cloud's process, as it is started: `python -m skylift.cloud`. What it is made of is in main.py."""

from __future__ import annotations

import gc
import sys

if __name__ == "__main__":
    # Before the first import: what is made by the start stays, and looking for what could go would take a sixth of its
    # time. It is turned on again once the cloud is ready.
    gc.disable()
    from skylift.cloud.main import main

    sys.exit(main())
