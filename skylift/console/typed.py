"""Parses what was typed into a field: a browser could send anything."""

from __future__ import annotations

import re

from skylift.client.errors import UsageError

_WHOLE = re.compile(r"[0-9]{1,9}")
_PORTS = re.compile(r"([0-9]{1,5})(?:-([0-9]{1,5}))?")


def whole_number(text: str, least: int, most: int) -> int | None:
    """The number that was typed, from `least` to `most`; None for all else."""
    number = int(text) if _WHOLE.fullmatch(text := text.strip()) else None
    return number if number is not None and least <= number <= most else None


def read_ports(text: str) -> tuple[int, int]:
    """The first and the last port. Whether there are such ports, AWS says. Raises UsageError."""
    found = _PORTS.fullmatch(text.strip())
    if found is None:
        raise UsageError(f"{text.strip()!r} is not a port, nor a range.", "Write it like 22 or 8000-8080.")
    first, last = found.groups()
    return int(first), int(last or first)
