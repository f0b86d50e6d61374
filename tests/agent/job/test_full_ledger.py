"""What a full disk does to the ledger."""

from __future__ import annotations

import errno
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from skylift.agent.job.ledger import Ledger


@contextmanager
def room_up_to(size: int) -> Iterator[None]:
    """The kernel takes what fits of a write, and says how much that was, as it does when a disk becomes full."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_half_a_line_is_not_noted(tmp_path: Path) -> None:
    """Whose start is not there whole has none: a successor would start the program a second time."""
    ledger = Ledger(tmp_path / "ledger")
    with room_up_to(1000), pytest.raises(OSError) as caught:
        ledger.note_for_good(start={"arrived": {f"data/{n}": [n, n] for n in range(500)}})
    assert caught.value.errno == errno.ENOSPC
    ledger.note(helper=1)
    with room_up_to((tmp_path / "ledger").stat().st_size + 5), pytest.raises(OSError):
        ledger.sign("pid")
    ledger.note(ending="cancelled")
    assert ledger.read() == {"helper": 1, "ending": "cancelled"}
