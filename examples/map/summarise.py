# /// script
# dependencies = []
# ///
"""Sum up one CSV file by station, into summary.json: count, sum and highest, of tenths of a degree."""

from __future__ import annotations

import csv
import json
import sys
from pathlib import Path

found: dict[str, dict[str, int]] = {}
with Path(sys.argv[1]).open(newline="") as file:
    for row in csv.DictReader(file):
        value = int(row["tenths"])
        station = found.setdefault(row["station"], {"count": 0, "sum": 0, "highest": value})
        station["count"] += 1
        station["sum"] += value
        station["highest"] = max(station["highest"], value)
Path("summary.json").write_text(json.dumps(found))
