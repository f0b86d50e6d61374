"""The noun: of which day figures are, and who says so."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Source:
    """`date` as `2026-11-25`."""

    date: str
    name: str
