"""Make a folder of CSV files: `python make.py FOLDER FILES ROWS`. The same rows every time.

The table that they are made of is real: what an hour of each EC2 instance type costs in each region, as skylift's
catalogue has it. Each file is a month, in which every server of the table runs hour after hour.
"""

from __future__ import annotations

import csv
import itertools
import sys
from datetime import datetime, timedelta
from pathlib import Path

from skylift import catalogue

FIRST = datetime(2026, 1, 1)


def table() -> list[tuple[str, str, int, str, int]]:
    """Region, type, vCPUs, a description, and millionths of a dollar an hour."""
    priced = itertools.product(
        sorted(catalogue.types().values(), key=lambda each: each.name), catalogue.priced_regions()
    )
    return [
        (region, kind.name, kind.vcpus, f'{kind.network}, "{kind.manufacturer}"', round(price * 1_000_000))
        for kind, region in priced
        if (price := catalogue.on_demand(kind.name, region)) is not None
    ]


def main(folder: Path, files: int, rows: int) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    servers = table()
    for month in range(files):
        with (folder / f"month-{month + 1:03}.csv").open("w", newline="") as file:
            written = csv.writer(file)
            written.writerow(["hour", "region", "type", "vcpus", "what", "microdollars"])
            for number in range(rows):
                hour = FIRST + timedelta(days=31 * month, hours=number // len(servers))
                written.writerow([hour.isoformat(), *servers[number % len(servers)]])


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
