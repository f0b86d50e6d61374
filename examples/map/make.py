"""Make a folder of CSV files: `python make.py FOLDER FILES ROWS`. The same rows every time."""

from __future__ import annotations

import csv
import random
import sys
from pathlib import Path

STATIONS = ["harbour", "airport", "hill", "valley"]


def main(folder: Path, files: int, rows: int) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    numbers = random.Random(2026)
    for month in range(1, files + 1):
        with (folder / f"month-{month:03}.csv").open("w", newline="") as file:
            table = csv.writer(file)
            table.writerow(["station", "note", "tenths"])
            for _ in range(rows):
                table.writerow([numbers.choice(STATIONS), 'read "twice"\nby hand', numbers.randint(-100, 350)])


main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
