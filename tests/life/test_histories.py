"""Six hundred histories, each of a seed of its own: whatever strikes, what must hold holds."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.supervisor  # its source, for ten seconds of processor time

HISTORIES = 600
COMMAND = Path(__file__).with_name("life_history.py")


def test_whatever_strikes() -> None:
    """What goes wrong is named by its seed, and `life_history.py --seed` tells that history by itself."""
    half = HISTORIES // 2
    halves = [
        subprocess.Popen(
            [sys.executable, str(COMMAND), f"--from={first}", f"--histories={half}"], stdout=subprocess.PIPE, text=True
        )
        for first in (1, 1 + half)
    ]
    told = [each.communicate()[0] for each in halves]
    assert [each.returncode for each in halves] == [0, 0], "\n".join(told)
    assert all(f"{half} histories" in each for each in told), "\n".join(told)
