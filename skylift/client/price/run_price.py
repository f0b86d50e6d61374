"""The cost of one run, or what it would have cost on AWS: words for the last line, and figures for programs."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace

from skylift import catalogue
from skylift.catalogue.price import figures
from skylift.client.job.outcome import Outcome
from skylift.client.job.run_price import OtherServersPrice, RunPrice
from skylift.client.job.settings import Settings
from skylift.client.price.price import rates_of, stand_in
from skylift.client.price.purchase import LEAST_BILLED, billed, quote, server_seconds
from skylift.client.text.duration import moment
from skylift.contract.map_progress import ServerTime


def with_price(outcome: Outcome, settings: Settings, times: Sequence[ServerTime] = ()) -> Outcome:
    """The same outcome, with its price if the server reported its times. `times` are those of a map's other servers."""
    if outcome.booted is None or outcome.ended is None:
        return outcome
    seconds = server_seconds(outcome.booted, outcome.ended, outcome.program_seconds)
    region, _ = stand_in(settings.region)
    found = quote(rates_of(outcome.instance_type, region), seconds, seconds / 3600)
    others = None
    if times:
        count, spent = sum(each.servers for each in times), sum(each.seconds for each in times)
        others = OtherServersPrice(count, round(spent, 1), cost_of(times, settings.region))
    return replace(outcome, price=RunPrice(found, settings.billed, outcome.market, others))


def cost_of(times: Sequence[ServerTime], region: str) -> float | None:
    """USD for a map's other servers; None where the price of one is unknown. Each is billed for a minute at least."""
    costs = [
        run_cost(each.instance_type, region, each.market, max(each.seconds, LEAST_BILLED * each.servers))
        for each in times
    ]
    known = [each for each in costs if each is not None]
    return sum(known) if len(known) == len(costs) else None


def time_of_server(
    booted: str | None, ended: str | None, program_seconds: float | None, *, alive: bool
) -> float | None:
    """Seconds for which a job has had servers, up to now while it runs; None if unknown."""
    if booted is None:
        return None
    if ended is None:
        return max(time.time() - moment(booted), 0.0) if alive else None
    return server_seconds(booted, ended, program_seconds)


def read_prices(settings: Settings) -> None:
    """Read what `with_price` needs from its files. Whoever does so while there is nothing else to do need not wait for
    it later."""
    figures(stand_in(settings.region)[0])


def run_cost(instance_type: str, region: str, market: str | None, seconds: float | None) -> float | None:
    """USD for so long a run, as it was bought; AWS's price where the place costs nothing. None where it is unknown."""
    if seconds is None:
        return None
    price = catalogue.spot if market == "spot" else catalogue.on_demand
    hourly = price(instance_type, stand_in(region)[0])
    return None if hourly is None else round(hourly * billed(seconds) / 3600, 8)
