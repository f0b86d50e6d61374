"""Parsing durations (`90`, `45s`, `30m`, `1h30m`, `2d`) and formatting them."""

from __future__ import annotations

import re
from datetime import datetime

from skylift.client.errors import UsageError

_UNITS = {"d": 86400, "h": 3600, "m": 60, "s": 1}
_FORM = re.compile(r"(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s?)?")


def parse_duration(text: str, option: str) -> int:
    """A duration in seconds. A bare number is seconds. Units go from large to small, each at most once. Raises
    UsageError."""
    found = _FORM.fullmatch(text.strip().lower())
    if found is None or not any(found.groups()):
        raise UsageError(
            f"{option} {text!r} is not a duration.", "Write it like 45s, 30m, 1h30m or 2d; a bare number is seconds."
        )
    seconds = sum(int(number) * unit for number, unit in zip(found.groups(default="0"), _UNITS.values(), strict=True))
    if seconds <= 0:
        raise UsageError(f"{option} {text!r} must be longer than zero.")
    return seconds


def spell_duration(seconds: float) -> str:
    """`0.34 s`, `12.3 s`, `4m 05s`, `1h 30m`: short, and only as precise as is useful."""
    if seconds < 10:
        return f"{seconds:.2f} s"
    if seconds < 60:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 3600:
        return f"{whole // 60}m {whole % 60:02d}s" if whole % 60 else f"{whole // 60}m"
    minutes = whole % 3600 // 60
    return f"{whole // 3600}h {minutes:02d}m" if minutes else f"{whole // 3600}h"


def spell_short(seconds: float) -> str:
    """`4s`, `12m`, `3h`, `5d`: for a column of ages."""
    for name, unit in _UNITS.items():
        if seconds >= unit:
            return f"{int(seconds // unit)}{name}"
    return "0s"


def spell_rest(seconds: float) -> str:
    """`10 more minutes`, `3 more hours`: the time that is left."""
    for unit, size in (("hour", 3600), ("minute", 60)):
        if seconds >= 2 * size:
            return f"{round(seconds / size)} more {unit}s"
    return f"{max(0, round(seconds))} more seconds"


def moment(text: str) -> float:
    """A time like `2026-01-31T12:00:00.123Z`, in seconds since the epoch."""
    return datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()
