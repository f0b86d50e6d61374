# /// script
# dependencies = []
# ///
"""Price a call option from random paths: `option.py SEED` leaves the sum of what they pay, and of its squares."""

from __future__ import annotations

import json
import math
import random
import sys
from pathlib import Path

PATHS = 20_000
SPOT, STRIKE, RATE, VOLATILITY, YEARS = 100.0, 105.0, 0.03, 0.2, 1.0


def main(seed: int) -> None:
    generator = random.Random(seed)
    drift, spread = (RATE - VOLATILITY**2 / 2) * YEARS, VOLATILITY * math.sqrt(YEARS)
    discount = math.exp(-RATE * YEARS)
    paid = [discount * max(SPOT * math.exp(drift + spread * generator.gauss(0, 1)) - STRIKE, 0.0) for _ in range(PATHS)]
    found = {"paths": PATHS, "sum": math.fsum(paid), "squares": math.fsum(each**2 for each in paid)}
    Path("price.json").write_text(json.dumps(found))


if __name__ == "__main__":
    main(int(sys.argv[1]))
