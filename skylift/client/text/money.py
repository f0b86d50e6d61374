"""Formatting sums of money."""

from __future__ import annotations

import math


def spell_usd(value: float | None) -> str:
    """Three significant digits, and cents from one dollar on; `unknown` when there is no price."""
    if value is None:
        return "unknown"
    if value == 0:
        return "0.00"
    if value >= 1:
        return f"{value:.2f}"
    return f"{value:.4f}" if value >= 0.01 else f"{value:.6f}"


def spell_dollars(usd: float) -> str:
    """Dollars and cents; below one cent, the first significant digit: `$0.0003`."""
    if usd >= 0.01 or usd <= 0:
        return f"${usd:.2f}"
    return f"${usd:.{max(4, -math.floor(math.log10(usd)))}f}"
