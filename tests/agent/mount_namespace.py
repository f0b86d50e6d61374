"""The beginning of a command that runs in a mount namespace of its own, where it may mount what it likes."""

from __future__ import annotations

import os

_USERS = [] if os.geteuid() == 0 else ["--user", "--map-root-user"]
NAMESPACE = ["unshare", *_USERS, "--mount", "--propagation", "private"]
