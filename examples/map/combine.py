"""Put the summaries of all files together: `python combine.py FOLDER`."""

from __future__ import annotations

import json
import sys
from pathlib import Path

total: dict[str, dict[str, int]] = {}
for path in sorted(Path(sys.argv[1]).glob("*/summary.json")):
    for name, each in json.loads(path.read_text()).items():
        station = total.setdefault(name, {"count": 0, "sum": 0, "highest": each["highest"]})
        station["count"] += each["count"]
        station["sum"] += each["sum"]
        station["highest"] = max(station["highest"], each["highest"])
for name, station in sorted(total.items()):
    mean = station["sum"] / station["count"] / 10
    print(f"{name:<8} {station['count']:>9} readings, {mean:6.2f} on average, {station['highest'] / 10:5.1f} at most")
