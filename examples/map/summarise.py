# /// script
# dependencies = []
# ///
"""Sum up one CSV file by region, into summary.json: hours, their cost and the dearest, in millionths of a dollar."""

from __future__ import annotations

import csv
import json
import sys
from pathlib import Path

found: dict[str, dict[str, int]] = {}
with Path(sys.argv[1]).open(newline="") as file:
    for row in csv.DictReader(file):
        price = int(row["microdollars"])
        region = found.setdefault(row["region"], {"hours": 0, "cost": 0, "dearest": price})
        region["hours"] += 1
        region["cost"] += price
        region["dearest"] = max(region["dearest"], price)
Path("summary.json").write_text(json.dumps(found))
