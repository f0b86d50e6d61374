"""Paths as users write them."""

from __future__ import annotations

import os
from pathlib import Path


def user_path(text: str) -> Path:
    """With the home directory for a `~`, as a shell reads it. A file's name may begin with one as well: `~$report.xlsx`
    stands beside a table that is open elsewhere."""
    return Path(os.path.expanduser(text))  # noqa: PTH111 - Path.expanduser raises an error where there is no such user
