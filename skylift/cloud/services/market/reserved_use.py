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
from dataclasses import dataclass
from fractions import Fraction
from functools import cache, lru_cache
from typing import NamedTuple

HOUR = 3600

FIXED_SIZES = frozenset("g4ad g4dn g5 g5g g6 g6e g6f gr6 gr6f hpc7a inf1 inf2 p5 u7i-6tb u7i-8tb".split())
"""Reserved instances of these families apply to their own size only."""

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
class CoveredUse:
    """A server that ran from `start` to `end`, in seconds; `key` is the caller's to know it by."""

    key: int
    type: str
    zone: str
    tenancy: str
    start: int
    end: int


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
    """A part of the need of this key, and whose reservation covers it; None if no reservation does."""

    key: int
    start: Fraction
    end: Fraction
    grant_id: str | None = None


class _Open(NamedTuple):
    """A part of a need that is still to be covered, in seconds of one clock hour."""

    need: CoveredUse
    start: Fraction
    end: Fraction


class _NeedPart(NamedTuple):
    """The part of a need in one clock hour, in seconds of the hour."""

    need: CoveredUse
    start: int
    end: int


class _GrantPart(NamedTuple):
    """The part of a grant in one clock hour, in seconds of the hour."""

    grant: Grant
    start: int
    end: int


@cache
def factor(instance_type: str) -> Fraction | None:
    """How much of a reservation an hour of this type uses; None for one whose size says nothing."""
    family, _, size = instance_type.partition(".")
    if size in _SMALL:
        return Fraction(_SMALL[size])
    several = re.fullmatch(r"(\d+)xlarge", size)
    if several:
        return Fraction(8 * int(several.group(1)))
    return Fraction(_METAL[family]) if size == "metal" and family in _METAL else None


@lru_cache(maxsize=256)
def is_flexible(grant: Grant) -> bool:
    family = grant.type.partition(".")[0]
    return (
        grant.zone is None
        and grant.tenancy == "default"
        and family not in FIXED_SIZES
        and factor(grant.type) is not None
    )


def apply(needs: Iterable[CoveredUse], grants: Iterable[Grant]) -> list[Used]:
    """All needs again, cut where a reservation begins or ceases to cover them."""
    # Of several that would do, the one that was bought first: AWS does not say which.
    in_order = sorted(grants, key=lambda one: (one.zone is None, is_flexible(one), one.start, one.id))
    used = _Used()
    hours: dict[int, list[CoveredUse]] = defaultdict(list)
    for need in needs:
        if any(_matches(grant, need) for grant in in_order):
            for hour in range(need.start // HOUR, -(-need.end // HOUR)):
                hours[hour].append(need)
        else:
            used.add(need.key, Fraction(need.start), Fraction(need.end), None)
    # For days on end, one hour is like the other.
    known: dict[tuple[object, ...], list[Used]] = {}
    for hour in sorted(hours):
        begun = hour * HOUR
        there = [_GrantPart(grant, *_clipped(grant.start, grant.end, begun)) for grant in in_order]
        wanted = [_NeedPart(need, *_clipped(need.start, need.end, begun)) for need in hours[hour]]
        alike = (
            tuple((part.start, part.end) for part in there),
            tuple((part.need.key, part.start, part.end) for part in wanted),
        )
        if alike not in known:
            known[alike] = sorted(_apply_in(wanted, there), key=lambda one: (one.key, one.start))
        for one in known[alike]:
            used.add(one.key, begun + one.start, begun + one.end, one.grant_id)
    return used.all()


class _Used:
    """Puts together again what follows on each other."""

    def __init__(self) -> None:
        self._last: dict[int, Used] = {}
        self._done: list[Used] = []

    def add(self, key: int, start: Fraction, end: Fraction, grant_id: str | None) -> None:
        last = self._last.get(key)
        if last is not None and last.end == start and last.grant_id == grant_id:
            start = last.start
        elif last is not None:
            self._done.append(last)
        self._last[key] = Used(key, start, end, grant_id)

    def all(self) -> list[Used]:
        return [*self._done, *self._last.values()]


def _clipped(start: int, end: int, hour: int) -> tuple[int, int]:
    """The span in seconds of the hour that begins at `hour`, without the parts outside it."""
    first = min(max(start - hour, 0), HOUR)
    return first, max(first, min(end - hour, HOUR))


def _apply_in(wanted: list[_NeedPart], there: list[_GrantPart]) -> Iterator[Used]:
    """The covered and the uncovered part of one clock hour, in seconds of the hour."""
    cuts = sorted({moment for part in there for moment in (part.start, part.end)})
    open_ones = [piece for part in wanted for piece in _cut(part, cuts)]
    for grant, begun, until in there:
        flexible = is_flexible(grant)
        left = grant.count * (until - begun) * (_units(grant.type) if flexible else Fraction(1))
        still_open = []
        for piece in sorted(open_ones, key=lambda one: _turn(one, flexible)):
            need, start, end = piece
            if not left or not _matches(grant, need) or start < begun or end > until:
                still_open.append(piece)
                continue
            weight = _units(need.type) if flexible else Fraction(1)
            covered = min(end, start + left / weight)
            left -= (covered - start) * weight
            yield Used(need.key, start, covered, grant.id)
            if covered < end:
                still_open.append(_Open(need, covered, end))
        open_ones = still_open
    yield from (Used(need.key, start, end) for need, start, end in open_ones)


def _turn(piece: _Open, flexible: bool) -> tuple[Fraction, Fraction, int]:
    """A flexible reservation covers the smallest types first; any covers what began first."""
    return (_units(piece.need.type) if flexible else Fraction(0), piece.start, piece.need.key)


def _units(instance_type: str) -> Fraction:
    found = factor(instance_type)
    return Fraction(0) if found is None else found


def _matches(grant: Grant, need: CoveredUse) -> bool:
    """Whether it could cover this at some time."""
    if grant.tenancy != need.tenancy or grant.zone not in (None, need.zone):
        return False
    if need.end <= grant.start or need.start >= grant.end:
        return False
    if is_flexible(grant):
        family = grant.type.partition(".")[0]
        return need.type.partition(".")[0] == family and factor(need.type) is not None
    return need.type == grant.type


def _cut(part: _NeedPart, cuts: list[int]) -> Iterator[_Open]:
    """The part of a need, cut where a reservation begins or ends."""
    start = part.start
    for moment in (*(one for one in cuts if part.start < one < part.end), part.end):
        yield _Open(part.need, Fraction(start), Fraction(moment))
        start = moment
