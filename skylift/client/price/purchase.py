"""What a run costs under each way to buy its server, and from how many hours a month on each way pays.

A commitment (a reserved instance, a savings plan) is paid for every hour of its term, used or not; so it pays from the
hours a month on that cost as much on demand: its price x 730 / the price on demand. A dedicated host is paid for as a
whole, however many of its places are taken. All prices are USD an hour for Linux; a value without a source is None.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from skylift.client.job.quote import Offer, Quote, Rates
from skylift.client.text.duration import moment
from skylift.client.text.money import spell_usd

HOURS_A_MONTH = 730
LEAST_BILLED = 60
"""Seconds that AWS bills for each start of a Linux server, at the least."""
_NEAR = 0.25
"""The share of the hours from which a commitment pays. With fewer hours, it is not mentioned."""
MOST_OFF = 0.72
"""The largest discount of a commitment, by AWS (https://aws.amazon.com/ec2/pricing/)."""


def billed(seconds: float) -> float:
    return max(seconds, LEAST_BILLED)


def server_seconds(booted: str, ended: str, program_seconds: float | None) -> float:
    """How long a job had servers, from its status. For an interrupted job, `booted` is its last server's. The time that
    the program ran before counts, and the time between servers does not."""
    return max(moment(ended) - moment(booted), program_seconds or 0.0, 0.0)


def quote(
    rates: Rates, seconds: float, hours: float, served: float | None = None, basis: dict[str, Any] | None = None
) -> Quote:
    """Where `served` is not known, servers are taken to run one after the other."""
    served = min(hours, HOURS_A_MONTH) if served is None else served
    offers = tuple(_offers(rates, billed(seconds), hours, served))
    advice, matter = _advise(rates, offers, hours, served), _commitments_matter(offers, served)
    return Quote(rates, billed(seconds), hours, served, offers, advice, basis or {}, matter)


def _offers(rates: Rates, seconds: float, hours: float, served: float) -> Iterable[Offer]:
    def by_use(name: str, hourly: float | None, pays_from: float | None, note: str = "", kind: str = "") -> Offer:
        run, month = _times(hourly, seconds / 3600), _times(hourly, hours)
        as_of = rates.dates.get(kind or name) if hourly is not None else None
        return Offer(name, hourly, run, month, pays_from, note=note, as_of=as_of)

    usual = rates.on_demand
    yield by_use("on-demand", usual, None)
    spot_pays = 0.0 if usual is not None and rates.spot is not None and rates.spot < usual else None
    yield by_use("spot", rates.spot, spot_pays, "may be interrupted")
    for kind in ("reserved", "savings-plan"):
        for years in (1, 3):
            found = [each for each in rates.commitments if (each.kind, each.years) == (kind, years)]
            for each in found:
                # The hours that it does not serve are bought on demand.
                beyond = _times(usual, hours - served)
                month = None if beyond is None else each.hourly * HOURS_A_MONTH + beyond
                run = each.hourly * seconds / 3600
                pays_from = _pays_from(each.hourly, usual)
                as_of = rates.dates.get(f"{kind} {years} {each.payment}")
                yield Offer(kind, each.hourly, run, month, pays_from, years, each.payment, as_of=as_of)
            if not found:
                yield Offer(kind, None, None, None, None, years=years)
    yield by_use("dedicated-instance", rates.dedicated, None, "without a region's fee for such servers", "dedicated")
    whole = _times(rates.host, HOURS_A_MONTH)
    yield Offer(
        "dedicated-host",
        rates.host,
        _times(rates.host, seconds / 3600),
        whole,
        None if rates.host is None else _pays_from(rates.host, usual, most=float("inf")),
        note="hours of all its servers together",
    )


def _pays_from(hourly: float, usual: float | None, most: float = HOURS_A_MONTH) -> float | None:
    """Never where even the whole month costs less on demand."""
    if not usual:
        return None
    hours = hourly * HOURS_A_MONTH / usual
    return hours if hours < most else None


def _advise(rates: Rates, offers: tuple[Offer, ...], hours: float, served: float) -> str:
    usual = rates.on_demand
    if usual is None:
        return f"There is no price on demand for {rates.instance_type} in {rates.region}, so nothing can be compared."
    spoken = f"{_spell_hours(hours)} a month"
    if hours - served > 0.01:
        spoken += f", of which one commitment serves {_spell_hours(served)},"
    cheaper = rates.spot is not None and rates.spot < usual
    share = 1 - (rates.spot or 0) / usual
    if not _commitments_matter(offers, served):
        return (
            f"Take on-demand{f', or spot for {share:.0%} less if the program may be interrupted' if cheaper else ''}."
        )
    committed = [each for each in offers if each.years is not None and each.month is not None]
    month = usual * hours
    paying = [each for each in committed if each.month is not None and each.month < month]
    if paying:
        best = min(paying, key=lambda each: each.month or 0)
        saved = month - (best.month or 0)
        text = f"Take {spell_offer(best)}: {spoken} are more than the {best.pays_from:.0f} h it pays from"
        text += f", and it saves {spell_usd(saved)} USD of {spell_usd(month)} a month."
    elif reachable := [each.pays_from for each in committed if each.pays_from is not None]:
        text = f"Take on-demand: {spoken} are less than the {min(reachable):.0f} h from which a commitment pays."
    elif committed:
        text = "Take on-demand: no commitment whose price is known costs less, however long it is used."
    else:
        text = _advise_without_prices(rates, served, spoken)
    if cheaper:
        text += f" Spot costs {share:.0%} less than on-demand, if the program may be interrupted."
    return text


def _commitments_matter(offers: tuple[Offer, ...], served: float) -> bool:
    """For a commitment without a known price, AWS's largest discount gives the hours from which it could pay."""
    known = [each for each in offers if each.years is not None and each.hourly is not None]
    paying = [each.pays_from for each in known if each.pays_from is not None]
    earliest = min(paying, default=HOURS_A_MONTH if known else (1 - MOST_OFF) * HOURS_A_MONTH)
    return served >= earliest * _NEAR


def _advise_without_prices(rates: Rates, served: float, spoken: str) -> str:
    """Advice on commitments without known prices: from which hours on they may pay, by their largest discount."""
    share = served / HOURS_A_MONTH
    nobody = f"no source has the price of a commitment for {rates.instance_type} in {rates.region}"
    if share < 1 - MOST_OFF:
        earliest = (1 - MOST_OFF) * HOURS_A_MONTH
        return (
            f"Take on-demand: {nobody}, but AWS's largest discount is {MOST_OFF:.0%}, which pays from {earliest:.0f} h"
            f" a month on; {spoken} are less."
        )
    if share >= 1:
        return f"A commitment pays at {spoken}; which one is not known: {nobody}."
    return f"A commitment pays at {spoken} if it takes more than {1 - share:.0%} off; {nobody}."


def spell_offer(offer: Offer) -> str:
    """`reserved, 1 year, no upfront`: one way to buy, as a row of a table has it."""
    words = [offer.name.replace("-", " ") if offer.name != "on-demand" else offer.name]
    if offer.years is not None:
        words.append(f"{offer.years} year{'s' * (offer.years != 1)}")
    if offer.payment is not None:
        words.append(offer.payment.replace("-", " "))
    return ", ".join(words)


def _spell_hours(hours: float) -> str:
    return f"{hours:.0f} h" if hours >= 10 else f"{hours:.2g} h"


def _times(price: float | None, factor: float) -> float | None:
    return None if price is None else price * factor
