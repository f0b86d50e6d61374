"""Put the summaries of all files together: `python combine.py FOLDER`."""

from __future__ import annotations

import json
import sys
from pathlib import Path

total: dict[str, dict[str, int]] = {}
for path in sorted(Path(sys.argv[1]).glob("*/summary.json")):
    for name, each in json.loads(path.read_text()).items():
        region = total.setdefault(name, {"hours": 0, "cost": 0, "dearest": 0})
        region["hours"] += each["hours"]
        region["cost"] += each["cost"]
        region["dearest"] = max(region["dearest"], each["dearest"])
for name, region in sorted(total.items()):
    cost, dearest = region["cost"] / 1_000_000, region["dearest"] / 1_000_000
    print(f"{name:<13} {region['hours']:>9} hours {cost:>16.6f} USD, the dearest {dearest:10.6f}")
