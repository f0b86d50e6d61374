"""Sums of money as people read them."""

from __future__ import annotations


def spell_usd(value: float | None) -> str:
    """Three figures that mean something, and cents where there are dollars; `unknown` where there is no price."""
    if value is None:
        return "unknown"
    if value == 0:
        return "0.00"
    if value >= 1:
        return f"{value:.2f}"
    return f"{value:.4f}" if value >= 0.01 else f"{value:.6f}"
