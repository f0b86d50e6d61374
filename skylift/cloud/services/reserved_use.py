"""How reserved instances are applied to what ran, clock hour by clock hour.

Those of a zone come first and want its type exactly; those of the region hold in each zone and, with shared tenancy,
for every size of the family, from the smallest to the largest by its normalization factor. In each clock hour one has
3,600 seconds of its own size to give, to one server or to several at once; what is not used is lost.
https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/apply_ri.html
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from fractions import Fraction

HOUR = 3600

FIXED_SIZES = frozenset("g4ad g4dn g5 g5g g6 g6e g6f gr6 gr6f hpc7a inf1 inf2 p5 u7i-6tb u7i-8tb".split())
"""Families whose reserved instances hold for their own size only."""

_SMALL = {"nano": "1/4", "micro": "1/2", "small": "1", "medium": "2", "large": "4", "xlarge": "8"}

_METAL = {
    "a1": 32,
    **dict.fromkeys("m5zn x2iezn z1d".split(), 96),
    **dict.fromkeys("c6g c6gd i3 m6g m6gd r6g r6gd x2gd".split(), 128),
    "c5n": 144,
    **dict.fromkeys("c5 c5d i3en m5 m5d m5dn m5n r5 r5b r5d r5dn r5n".split(), 192),
    **dict.fromkeys("c6i c6id m6i m6id r6i r6id".split(), 256),
    **dict.fromkeys("u-18tb1 u-24tb1".split(), 448),
    **dict.fromkeys("u-6tb1 u-9tb1 u-12tb1".split(), 896),
}
"""A whole machine counts as the virtual server that fills it."""


@dataclass(frozen=True)
class Need:
    """A server that ran from `start` to `end`, in seconds; `key` is the caller's to know it by."""

    key: int
    type: str
    zone: str
    tenancy: str
    start: Fraction
    end: Fraction


@dataclass(frozen=True)
class Grant:
    """A reservation of `count` servers from `start` to `end`."""

    id: str
    type: str
    zone: str | None
    tenancy: str
    count: int
    start: int
    end: int


@dataclass(frozen=True)
class Used:
    """A part of a need, and by whose reservation it is covered; by nobody's if that is None."""

    need: Need
    grant_id: str | None = None


def factor(instance_type: str) -> Fraction | None:
    """How much of a reservation an hour of this type uses; None for one whose size says nothing."""
    family, _, size = instance_type.partition(".")
    if size in _SMALL:
        return Fraction(_SMALL[size])
    several = re.fullmatch(r"(\d+)xlarge", size)
    if several:
        return Fraction(8 * int(several.group(1)))
    return Fraction(_METAL[family]) if size == "metal" and family in _METAL else None


def is_flexible(grant: Grant) -> bool:
    family = grant.type.partition(".")[0]
    return (
        grant.zone is None
        and grant.tenancy == "default"
        and family not in FIXED_SIZES
        and factor(grant.type) is not None
    )


def apply(needs: Iterable[Need], grants: Iterable[Grant]) -> list[Used]:
    """All needs again, cut where a reservation begins or ceases to cover them."""
    # Of several that would do, the one that was bought first: AWS does not say which.
    in_order = sorted(grants, key=lambda one: (one.zone is None, is_flexible(one), one.start, one.id))
    cuts = sorted({Fraction(moment) for one in in_order for moment in (one.start, one.end)})
    hours: dict[int, list[Need]] = defaultdict(list)
    used: list[Used] = []
    for need in needs:
        if not any(_matches(grant, need) for grant in in_order):
            used.append(Used(need))
            continue
        for piece in _cut(need, cuts):
            hours[int(piece.start // HOUR)].append(piece)
    for hour in sorted(hours):
        used += _apply_in(hour * HOUR, hours[hour], in_order)
    return used


def _apply_in(hour: int, needs: list[Need], grants: list[Grant]) -> Iterator[Used]:
    """In the clock hour that begins at `hour`."""
    open_ones = needs
    for grant in grants:
        seconds = min(grant.end, hour + HOUR) - max(grant.start, hour)
        if seconds <= 0:
            continue
        flexible = is_flexible(grant)
        left = grant.count * seconds * (_units(grant.type) if flexible else 1)
        still_open = []
        for need in sorted(open_ones, key=lambda one: _turn(one, flexible)):
            if not left or not _covers(grant, need):
                still_open.append(need)
                continue
            weight = _units(need.type) if flexible else Fraction(1)
            until = min(need.end, need.start + left / weight)
            left -= (until - need.start) * weight
            yield Used(replace(need, end=until), grant.id)
            if until < need.end:
                still_open.append(replace(need, start=until))
        open_ones = still_open
    yield from (Used(need) for need in open_ones)


def _turn(need: Need, flexible: bool) -> tuple[Fraction, Fraction, int]:
    return (_units(need.type) if flexible else Fraction(0), need.start, need.key)


def _units(instance_type: str) -> Fraction:
    found = factor(instance_type)
    return Fraction(0) if found is None else found


def _matches(grant: Grant, need: Need) -> bool:
    """Whether it could cover this at some time."""
    if grant.tenancy != need.tenancy or grant.zone not in (None, need.zone):
        return False
    if need.end <= grant.start or need.start >= grant.end:
        return False
    if is_flexible(grant):
        family = grant.type.partition(".")[0]
        return need.type.partition(".")[0] == family and factor(need.type) is not None
    return need.type == grant.type


def _covers(grant: Grant, need: Need) -> bool:
    return _matches(grant, need) and grant.start <= need.start and need.end <= grant.end


def _cut(need: Need, cuts: list[Fraction]) -> Iterator[Need]:
    """At each full hour, and where a reservation begins or ends."""
    start = need.start
    while start < need.end:
        hour = (start // HOUR + 1) * HOUR
        end = min([need.end, Fraction(hour), *(cut for cut in cuts if cut > start)])
        yield replace(need, start=start, end=end)
        start = end
