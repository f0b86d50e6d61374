"""The type that a program which ran out of memory is told of."""

from __future__ import annotations

from dataclasses import replace

import pytest

from skylift.client.collect.bigger_type import name_bigger_type, next_bigger
from skylift.client.job.outcome import Outcome
from skylift.client.job.settings import Settings
from skylift.client.remote.api import Api

ENDED = Outcome("a-job", "out-of-memory", 121, "It needed more than there was.")


@pytest.mark.parametrize(
    ("small", "large", "gib"), [("t3.nano", "t3.micro", 1), ("t3.medium", "t3.large", 8), ("m5.large", "m5.xlarge", 16)]
)
def test_the_next_of_its_family(api: Api, small: str, large: str, gib: int) -> None:
    assert next_bigger(api, small) == (large, gib << 30)


def test_it_is_named_at_the_end_of_the_reason(api: Api) -> None:
    told = name_bigger_type(api, ENDED, "t3.small")
    assert told.reason == f"{ENDED.reason} The next larger type is t3.medium, with 4.0 GiB (--type t3.medium)."


def test_the_largest_of_a_family_has_none(api: Api) -> None:
    assert "t3.2xlarge is the largest" in name_bigger_type(api, ENDED, "t3.2xlarge").reason


def test_other_ends_are_left_as_they_are(api: Api) -> None:
    killed = replace(ENDED, state="failed")
    assert name_bigger_type(api, killed, "t3.small") == killed


def test_an_account_that_may_not_ask_is_told_without(settings: Settings) -> None:
    nowhere = Api(replace(settings, endpoint_url="http://127.0.0.1:9"))
    assert name_bigger_type(nowhere, ENDED, "t3.small") == ENDED
