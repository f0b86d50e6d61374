"""One of several runs: says on which server it is, and since when that server has been up."""

import platform
import sys
import time

step = sys.argv[1] if len(sys.argv) > 1 else "?"
print(f"step {step} on {platform.node()}, at {time.strftime('%H:%M:%S')}")
