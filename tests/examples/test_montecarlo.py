"""The option's price, as the example has it, against the formula of Black and Scholes."""

from __future__ import annotations

import math
import re
import statistics
import subprocess
import sys
from pathlib import Path

EXAMPLE = Path(__file__).parents[2] / "examples/montecarlo"


def test_the_price_is_that_of_the_formula(tmp_path: Path) -> None:
    for seed in range(1, 6):
        (tmp_path / str(seed)).mkdir()
        subprocess.run([sys.executable, str(EXAMPLE / "option.py"), str(seed)], cwd=tmp_path / str(seed), check=True)
    done = subprocess.run(
        [sys.executable, str(EXAMPLE / "combine.py"), "."], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    found = re.fullmatch(r"([\d.]+) \+- ([\d.]+), by 100000 paths of 5 seeds\n", done.stdout)
    assert found is not None
    spot, strike, rate, volatility, years = 100.0, 105.0, 0.03, 0.2, 1.0
    spread = volatility * math.sqrt(years)
    first = (math.log(spot / strike) + (rate + volatility**2 / 2) * years) / spread
    normal = statistics.NormalDist()
    price = spot * normal.cdf(first) - strike * math.exp(-rate * years) * normal.cdf(first - spread)
    assert abs(float(found[1]) - price) < 4 * float(found[2])
    assert float(found[2]) < 0.05
