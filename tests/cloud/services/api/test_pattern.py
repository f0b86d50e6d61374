from __future__ import annotations

import fnmatch
import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from skylift.cloud.services.api.pattern import pattern


def nothing(_: str) -> None:
    return None


def oracle(text: str, value: str) -> bool:
    """The standard library's wildcards, with its bracket expressions taken away."""
    return re.match(fnmatch.translate(text.replace("[", "[[]")), value) is not None


@given(text=st.text("ab*?[.:/"), value=st.text("ab[.:/\n"))
@example(text="*", value="")
@example(text="a*b*c", value="abbbc")
@example(text="**?*", value="x")
@example(text="*ab*ab", value="abab")
@example(text="ab*ab", value="aab")
@example(text="a?*?a", value="aaa")
@example(text="*a?", value="a")
def test_matches_as_fnmatch_does(text: str, value: str) -> None:
    assert pattern(text, variables=True).matches(value, nothing) == oracle(text, value)


@given(text=st.text("ab*?", max_size=8), parts=st.lists(st.text("ab", max_size=2), min_size=6, max_size=6))
def test_a_star_of_an_arn_stays_within_its_part(text: str, parts: list[str]) -> None:
    value = ":".join(parts)
    wanted = f"{text}:*:*:*:*:*"
    assert pattern(wanted, variables=True).matches_arn(value, nothing) == oracle(text, parts[0])


def test_the_last_part_of_an_arn_may_hold_colons() -> None:
    assert pattern("arn:aws:x:::log/*", variables=True).matches_arn("arn:aws:x:::log/a:b:c", nothing)
    assert not pattern("arn:aws:*:log/a", variables=True).matches_arn("arn:aws:x:::log/a", nothing)


@pytest.mark.parametrize("text", ["*a" * 60 + "b", "*?" * 60 + "b", "*a?" * 60 + "b", "?*a" * 60 + "b"])
def test_many_stars_do_not_make_it_slow(text: str) -> None:
    """With backtracking these would take longer than the universe has; a test that hangs has failed."""
    assert not pattern(text, variables=True).matches("a" * 2000, nothing)
    assert not pattern(f"arn:aws:x:::{text}", variables=True).matches_arn("arn:aws:x:::" + "a" * 2000, nothing)


@pytest.mark.parametrize("text", ["${" * 100_000, "${" + " " * 100_000 + "}", "${a" + "," * 100_000 + "'}"])
def test_variables_that_do_not_end_do_not_make_it_slow(text: str) -> None:
    assert not pattern(text, variables=True).matches("a", nothing)


@pytest.mark.parametrize(
    ("text", "value", "matches"),
    [
        ("home/${aws:username}/*", "home/ann/x", True),
        ("home/${aws:username}/*", "home/bob/x", False),
        ("home/${AWS:UserName}", "home/ann", True),
        ("home/${aws:missing}/*", "home/ann/x", False),
        ("home/${aws:missing, 'all'}", "home/all", True),
        ("home/${aws:username, 'all'}", "home/ann", True),
        ("a${*}b", "a*b", True),
        ("a${*}b", "axb", False),
        ("a${?}b", "axb", False),
        ("a${$}b", "a$b", True),
        ("${aws:wild}", "anything", False),
        ("${aws:wild}", "*", True),
    ],
)
def test_policy_variables(text: str, value: str, matches: bool) -> None:
    keys = {"aws:username": "ann", "aws:wild": "*"}
    assert pattern(text, variables=True).matches(value, lambda key: keys.get(key.lower())) is matches


def test_policies_of_2008_have_no_variables() -> None:
    assert pattern("${aws:username}", variables=False).matches("${aws:username}", nothing)
