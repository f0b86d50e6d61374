"""How reserved instances are applied: AWS's own examples, and what has to hold whatever ran."""

from __future__ import annotations

from collections import defaultdict
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skylift.cloud.services.market.reserved_use import HOUR, CoveredUse, Grant, Used, apply, factor, is_flexible


def need(key: int, kind: str, zone: str = "a", start: int = 0, end: int = HOUR, tenancy: str = "default") -> CoveredUse:
    return CoveredUse(key, kind, zone, tenancy, start, end)


def grant(kind: str, count: int = 1, zone: str | None = None, start: int = 0, end: int = 24 * HOUR) -> Grant:
    return Grant(f"{kind} {zone}", kind, zone, "default", count, start, end)


def covered(used: list[Used]) -> dict[int, Fraction]:
    """Seconds that are covered, by need."""
    found: dict[int, Fraction] = defaultdict(Fraction)
    for one in used:
        if one.grant_id is not None:
            found[one.key] += one.end - one.start
    return dict(found)


def test_scenario_1_of_the_guide() -> None:
    needs = [
        *(need(key, "m3.large", "a") for key in range(4)),
        *(need(key, "m4.xlarge", "b") for key in (4, 5)),
        need(6, "c4.xlarge", "c"),
    ]
    grants = [grant("m3.large", 4, "a"), grant("m4.large", 4), grant("c4.large")]
    assert covered(apply(needs, grants)) == {**dict.fromkeys(range(6), HOUR), 6: HOUR // 2}


def test_scenario_2_of_the_guide() -> None:
    needs = [need(0, "m3.xlarge"), need(1, "m3.xlarge"), need(2, "m3.large", "b"), need(3, "m3.large", "b")]
    assert covered(apply(needs, [grant("m3.2xlarge")])) == {2: HOUR, 3: HOUR, 0: HOUR}


def test_one_reservation_and_several_at_once() -> None:
    """One hour of four servers for 15 minutes each is covered whole; four for an hour are covered once."""
    short = [need(key, "m4.xlarge", start=600, end=1500) for key in range(4)]
    assert covered(apply(short, [grant("m4.xlarge")])) == dict.fromkeys(range(4), 900)
    long = [need(key, "m4.xlarge") for key in range(4)]
    assert covered(apply(long, [grant("m4.xlarge")])) == {0: HOUR}


def test_an_hour_that_is_not_used_is_lost() -> None:
    needs = [need(0, "t3.small", start=2 * HOUR, end=3 * HOUR), need(1, "t3.small", start=2 * HOUR, end=3 * HOUR)]
    assert sum(covered(apply(needs, [grant("t3.small")])).values()) == HOUR


def test_those_of_a_zone_want_its_type_exactly() -> None:
    needs = [need(0, "t3.small", "a"), need(1, "t3.small", "b"), need(2, "t3.micro", "a")]
    assert covered(apply(needs, [grant("t3.small", 3, "a")])) == {0: HOUR}


def test_one_that_begins_in_the_middle_of_an_hour_covers_what_follows() -> None:
    found = covered(apply([need(0, "t3.small")], [grant("t3.small", 5, start=1000)]))
    assert found == {0: HOUR - 1000}
    assert covered(apply([need(0, "t3.small")], [grant("t3.small", 5, end=1000)])) == {0: 1000}
    # It has that much to give in this hour, too: two servers have half of it each, or one has all.
    two = [need(0, "t3.small"), need(1, "t3.small")]
    assert sum(covered(apply(two, [grant("t3.small", 1, start=1000)])).values()) == HOUR - 1000


@pytest.mark.parametrize("kind", ["g5.xlarge", "inf2.xlarge", "p5.48xlarge"])
def test_some_families_hold_for_their_own_size_only(kind: str) -> None:
    family = kind.partition(".")[0]
    assert not is_flexible(grant(kind))
    found = covered(apply([need(0, kind), need(1, f"{family}.2xlarge")], [grant(kind, 9)]))
    assert found == {0: HOUR}


def test_dedicated_ones_are_of_their_own() -> None:
    needs = [need(0, "m5.large", tenancy="dedicated"), need(1, "m5.large"), need(2, "m5.xlarge", tenancy="dedicated")]
    dedicated = Grant("r", "m5.large", None, "dedicated", 5, 0, HOUR)
    assert covered(apply(needs, [dedicated])) == {0: HOUR}


def test_factors() -> None:
    assert [factor(f"t3.{size}") for size in ("nano", "micro", "small", "large", "2xlarge")] == [
        Fraction(1, 4),
        Fraction(1, 2),
        1,
        4,
        16,
    ]
    assert (factor("u-6tb1.112xlarge"), factor("i3.metal"), factor("mac1.metal")) == (896, 128, None)


KINDS = ("t3.nano", "t3.small", "t3.large", "m5.large", "m5.4xlarge", "g5.xlarge", "mac1.metal")
moments = st.integers(0, 3 * HOUR)
needs_of = st.builds(
    lambda kind, zone, tenancy, start, length: (kind, zone, tenancy, start, start + length),
    st.sampled_from(KINDS),
    st.sampled_from("ab"),
    st.sampled_from(("default", "default", "dedicated")),
    moments,
    st.integers(1, 2 * HOUR),
)
grants_of = st.builds(
    lambda kind, zone, tenancy, count, start, length: (kind, zone, tenancy, count, start, start + length),
    st.sampled_from(KINDS),
    st.sampled_from((None, None, "a")),
    st.sampled_from(("default", "default", "dedicated")),
    st.integers(1, 3),
    moments,
    st.integers(1, 5 * HOUR),
)


@given(st.lists(needs_of, max_size=6), st.lists(grants_of, max_size=4))
def test_whatever_ran(some: list[tuple[str, str, str, int, int]], others: list[tuple[object, ...]]) -> None:
    needs = [
        CoveredUse(key, kind, zone, tenancy, start, end) for key, (kind, zone, tenancy, start, end) in enumerate(some)
    ]
    grants = [Grant(f"r{number}", *one) for number, one in enumerate(others)]  # type: ignore[arg-type]
    used = apply(needs, grants)
    # Nothing that ran is lost or counted twice.
    for one in needs:
        parts = sorted((part for part in used if part.key == one.key), key=lambda part: part.start)
        assert [part.start for part in parts] == [one.start, *(part.end for part in parts[:-1])]
        assert parts[-1].end == one.end
    by_id = {one.id: one for one in grants}
    given_out: dict[tuple[str, int], Fraction] = defaultdict(Fraction)
    for part in used:
        if part.grant_id is None:
            continue
        whose, ran = by_id[part.grant_id], needs[part.key]
        assert ran.tenancy == whose.tenancy and whose.zone in (None, ran.zone)
        assert whose.start <= part.start and part.end <= whose.end
        assert ran.type == whose.type or (is_flexible(whose) and ran.type.split(".")[0] == whose.type.split(".")[0])
        units = (factor(ran.type), factor(whose.type)) if is_flexible(whose) else (Fraction(1), Fraction(1))
        assert units[0] is not None and units[1] is not None
        for hour in range(int(part.start // HOUR), int(-(-part.end // HOUR))):
            seconds = min(part.end, Fraction((hour + 1) * HOUR)) - max(part.start, Fraction(hour * HOUR))
            given_out[whose.id, hour] += seconds * units[0] / units[1]
    # No reservation gives more than it has in an hour.
    for (name, hour), total in given_out.items():
        whose = by_id[name]
        assert total <= whose.count * (min(whose.end, (hour + 1) * HOUR) - max(whose.start, hour * HOUR))
