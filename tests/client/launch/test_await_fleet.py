"""The wait for the first server of a spot job's fleet: which of the fleet's errors end it."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from skylift.client.errors import LaunchFailed
from skylift.client.launch import fleet

FLEET = fleet.JobFleet("fleet-1", "x")
NOT_HERE = "Your requested instance type (t3.small) is not supported in your requested Availability Zone (us-east-1e)."


class Ec2:
    """Its fleet has reported an error at once, and starts a server after so many seconds."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, kind: str, words: str, starts: float) -> None:
        self.now, self._kind, self._words, self._starts = 0.0, kind, words, starts
        monkeypatch.setattr(fleet, "live_servers", self._servers)
        clock = SimpleNamespace(monotonic=lambda: self.now, time=lambda: 1e9 + self.now)
        monkeypatch.setattr(fleet, "time", clock)
        monkeypatch.setattr(fleet, "pause", self._pause)

    def _pause(self, seconds: float) -> bool:
        self.now += seconds
        return True

    def _servers(self, *_: Any) -> list[Any]:
        return [SimpleNamespace(gone=False, instance="i-1")] if self.now >= self._starts else []

    def call(self, *_: str, **__: Any) -> dict[str, Any]:
        told = {"EventSubType": self._kind, "EventDescription": self._words}
        return {"HistoryRecords": [{"EventInformation": told}]}


@pytest.mark.parametrize(
    "kind",
    [
        "launchSpecTemporarilyBlacklisted",
        "launchSpecUnusable",
        "spotFleetRequestConfigurationInvalid",
        "iamFleetRoleInvalid",
        "",
    ],
)
def test_what_one_zone_does_not_offer_another_one_may(monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    ec2: Any = Ec2(monkeypatch, kind, NOT_HERE, starts=40)
    assert fleet.await_server(ec2, FLEET).instance == "i-1"


@pytest.mark.parametrize(
    ("kind", "least", "most"),
    [
        ("allLaunchSpecsTemporarilyBlacklisted", 10, 15),
        ("spotInstanceCountLimitExceeded", 10, 15),
        ("launchSpecTemporarilyBlacklisted", 60, 65),
    ],
)
def test_it_is_given_up_with_the_fleets_own_words(
    monkeypatch: pytest.MonkeyPatch, kind: str, least: float, most: float
) -> None:
    ec2: Any = Ec2(monkeypatch, kind, NOT_HERE, starts=1000)
    with pytest.raises(LaunchFailed, match=r"not supported in your requested Availability Zone"):
        fleet.await_server(ec2, FLEET)
    assert least <= ec2.now <= most


def test_a_profile_that_ec2_does_not_know_yet_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    words = "Value (skylift-x) for parameter iamInstanceProfile.name is invalid. Invalid IAM Instance Profile name"
    ec2: Any = Ec2(monkeypatch, "allLaunchSpecsTemporarilyBlacklisted", words, starts=40)
    assert fleet.await_server(ec2, FLEET).instance == "i-1"
