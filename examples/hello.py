"""The smallest job: say hello, and from where."""

import platform
import sys

print(f"Hello from {platform.node()}, Python {platform.python_version()}")
print("and this line is on standard error", file=sys.stderr)
