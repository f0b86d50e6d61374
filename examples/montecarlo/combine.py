"""Put together what all seeds have left: `combine.py FOLDER` prints the price, and how far it may be off."""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path

found = [json.loads(path.read_text()) for path in Path(sys.argv[1]).glob("*/price.json")]
paths = sum(each["paths"] for each in found)
mean = math.fsum(each["sum"] for each in found) / paths
error = math.sqrt((math.fsum(each["squares"] for each in found) / paths - mean**2) / paths)
print(f"{mean:.6f} +- {error:.6f}, by {paths} paths of {len(found)} seeds")
