"""Reads small files of /proc and of control groups. A missing or denied file counts as an empty one."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Dict, Optional


def read_text(path: Path) -> str:
    with contextlib.suppress(OSError):
        return path.read_text()
    return ""


def read_number(path: Path) -> Optional[int]:
    text = read_text(path).strip()
    return int(text) if text.isdigit() else None


def read_table(path: Path, unit: int = 1) -> Dict[str, int]:
    """Lines of a name and a number."""
    pairs = [line.split() for line in read_text(path).splitlines()]
    return {pair[0].rstrip(":"): int(pair[1]) * unit for pair in pairs if len(pair) > 1 and pair[1].isdigit()}
