"""The example of a job that may be interrupted: stopped wherever it is, it ends with the right number."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

EXAMPLE = Path(__file__).parents[2] / "examples/spot/primes.py"


def start(folder: Path, top: int) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, EXAMPLE, str(top), "200000"], cwd=folder, stdout=subprocess.PIPE, text=True
    )


def test_it_counts_right(tmp_path: Path) -> None:
    said, _ = start(tmp_path, 1_000_000).communicate()
    assert said.endswith("78498 primes below 1000000\n")
    assert json.loads((tmp_path / "primes.json").read_text()) == {"below": 1_000_000, "primes": 78498}


def test_told_to_end_it_goes_on_with_the_next_block(tmp_path: Path) -> None:
    told, codes, lines = 0, [], []
    # Whoever is told when all has been counted may be ended by that, as Python is at its own end, too.
    while not codes or codes[-1] in (75, -signal.SIGTERM):
        running = start(tmp_path, 2_000_000)
        assert running.stdout is not None
        lines.append(running.stdout.readline())
        lines.append(running.stdout.readline())
        if told < 3:
            running.terminate()
            told += 1
        lines += running.stdout.readlines()
        codes.append(running.wait())
    assert codes[-1] == 0
    counted = [int(line.split()[-1]) for line in lines if "primes below" in line]
    assert counted == list(range(200_000, 2_000_001, 200_000))
    assert json.loads((tmp_path / "primes.json").read_text())["primes"] == 148933
