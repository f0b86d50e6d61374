"""Sums of money as people read them."""

from __future__ import annotations

import math


def spell_usd(value: float | None) -> str:
    """Three figures that mean something, and cents where there are dollars; `unknown` where there is no price."""
    if value is None:
        return "unknown"
    if value == 0:
        return "0.00"
    if value >= 1:
        return f"{value:.2f}"
    return f"{value:.4f}" if value >= 0.01 else f"{value:.6f}"


def spell_dollars(usd: float) -> str:
    """Cents where they say something, and of less than one the first figure that does: `$0.0003`."""
    if usd >= 0.01 or usd <= 0:
        return f"${usd:.2f}"
    return f"${usd:.{max(4, -math.floor(math.log10(usd)))}f}"
