"""Host uids that belong to somebody already: what /etc/subuid and /etc/subgid grant (subuid(5))."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

FILES = (Path("/etc/subuid"), Path("/etc/subgid"))


def granted(files: Iterable[Path] = FILES) -> tuple[str, ...]:
    """Each range as `FIRST-LAST`, sorted; other lines are ignored."""
    found = set()
    for file in files:
        if not file.exists():
            continue
        for line in file.read_text().splitlines():
            _, _, numbers = line.partition(":")
            first, _, count = numbers.partition(":")
            if first.isdigit() and count.isdigit() and int(count) > 0:
                found.add((int(first), int(first) + int(count) - 1))
    return tuple(f"{first}-{last}" for first, last in sorted(found))
