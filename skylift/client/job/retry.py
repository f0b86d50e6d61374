"""How often a program that fails is started again, and after which exit codes, as people write it: `1,75,130-140`."""

from __future__ import annotations

import re
from collections.abc import Sequence

from skylift.client.errors import UsageError
from skylift.client.text.visible import shown
from skylift.contract.record import Retry

Codes = int | str | Sequence[int | str]
"""`"1,75,130-140"`, or several such texts."""
MOST = 100
_MOST_CODES = 256
_NUMBER = re.compile(r"\d{1,3}", re.ASCII)
_CODES = re.compile(r"\s*(\d{1,3})\s*(?:-\s*(\d{1,3})\s*)?", re.ASCII)


def read_retry(times: int | str | None, on: Codes | None, *, interactive: bool = False) -> Retry | None:
    """From --retries and --retry-on. Raises UsageError."""
    often = None if times is None else _read_times(str(times))
    if on and often is None:
        raise UsageError("--retry-on goes with --retries.", "Give a number of retries: --retries 3.")
    words = [on] if isinstance(on, int | str) else on or ()
    codes = [_read_code(text) for word in words for text in str(word).split(",", _MOST_CODES)]
    if not often:
        return None
    if interactive:
        raise UsageError("-it and --retries exclude each other: at a terminal, you start the program again yourself.")
    return Retry(often, tuple(codes))


def _read_times(text: str) -> int:
    if not _NUMBER.fullmatch(text) or int(text) > MOST:
        raise UsageError(f"--retries {shown(text)!r} is not a number from 0 to {MOST}.")
    return int(text)


def _read_code(text: str) -> tuple[int, int]:
    found = _CODES.fullmatch(text)
    low, high = (int(found[1]), int(found[2] or found[1])) if found is not None else (0, 0)
    if not 1 <= low <= high <= 255:
        raise UsageError(
            f"--retry-on: {shown(text)!r} is neither an exit code from 1 to 255 nor a range of them.",
            "Write them like 1,75,130-140.",
        )
    return low, high
