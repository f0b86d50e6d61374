"""The options of a spot server, as people write them, and the instance types that would do."""

from __future__ import annotations

from dataclasses import replace
from pathlib import PurePosixPath

from skylift.client.errors import UsageError
from skylift.client.job.job import Spot

MOST_TYPES = 10
"""The most types of a fleet. More types are more chances of room; a fleet takes the best of them each time."""
LEAST_PRICE = 0.001
"""USD an hour. EC2 refuses this, and less, as a maximum."""
DEAREST = 2.0
"""A type qualifies if its price on demand is at most this many times that of the cheapest one."""


def read_spot(*, spot: bool, max_price: float | None, checkpoint: str | None, or_on_demand: bool) -> Spot | None:
    """From the texts of --spot, --max-price, --checkpoint and --or-on-demand. Raises UsageError."""
    if not spot:
        for option, given in (
            ("--max-price", max_price is not None),
            ("--checkpoint", checkpoint is not None),
            ("--or-on-demand", or_on_demand),
        ):
            if given:
                raise UsageError(f"{option} goes with --spot.")
        return None
    if max_price is not None and not 0 < max_price < float("inf"):
        raise UsageError(f"--max-price {max_price:g} is not a price.", "It is in USD an hour, like 0.05.")
    if max_price is not None and max_price <= LEAST_PRICE:
        raise UsageError(f"--max-price {max_price:g}: EC2 refuses {LEAST_PRICE:g} USD an hour or less.")
    return Spot(max_price, _read_checkpoint(checkpoint), or_on_demand)


def _read_checkpoint(text: str | None) -> str:
    if text is None:
        return ""
    path = PurePosixPath(text)
    if not path.parts or path.is_absolute() or ".." in path.parts or text.startswith("~"):
        raise UsageError(
            f"--checkpoint {text!r} must be a file or a folder below the working directory.",
            "Let the program write there; after an interruption, the next server has it there.",
        )
    return str(path)


def check_company(spot: Spot | None, *, keep: bool, interactive: bool) -> None:
    """What does not go with it."""
    if spot is None:
        return
    if keep:
        raise UsageError("--keep and --spot exclude each other: a spot server cannot be kept.")
    if interactive:
        raise UsageError("-it and --spot exclude each other: a terminal does not move to another server.")


def with_types(spot: Spot, types: list[tuple[str, float]]) -> Spot:
    """`types` have what the job needs, the cheapest first, with their prices on demand."""
    most = types[0][1] * DEAREST if types else 0.0
    return replace(spot, types=tuple(name for name, hourly in types[:MOST_TYPES] if hourly <= most))
