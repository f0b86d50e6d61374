"""The server on which a spot job has ended deletes its fleet, or another server would follow it."""

from __future__ import annotations

import time
from types import SimpleNamespace
from typing import Any, cast

import pytest

from skylift.agent.job import fleet
from skylift.agent.job.context import Context
from skylift.agent.remote import aws as aws_module
from skylift.agent.remote.aws import NoAnswer, Unreachable


class Ec2:
    """Answers with these errors first, and then deletes the fleet."""

    def __init__(self, errors: list[Exception]) -> None:
        self.errors, self.asked = errors, 0

    def url(self, service: str) -> str:
        return f"https://{service}.example"

    def send(self, *_: Any) -> tuple[int, dict[str, str], bytes]:
        self.asked += 1
        if self.errors:
            raise self.errors.pop(0)
        return 200, {}, b"<currentFleetState>deleted_running</currentFleetState>"


def release(ec2: Ec2, monkeypatch: pytest.MonkeyPatch) -> None:
    """After its patience is over, and long before the deadline. No time passes between two tries."""
    monkeypatch.setattr(fleet, "_PATIENCE", -1.0)
    monkeypatch.setattr(aws_module.time, "sleep", lambda _: None)
    metadata = SimpleNamespace(get=lambda _: "fleet-1")
    context = SimpleNamespace(aws=ec2, metadata=lambda: metadata, prefix=None, deadline=time.time() + 3600)
    fleet.release_fleet(cast(Context, context))


@pytest.mark.parametrize(
    "silence",
    [
        NoAnswer("POST ec2.us-east-1.amazonaws.com: TimeoutError('timed out')"),
        Unreachable("POST http://169.254.169.252/: HTTP 403 NoWayToService: 10.83.0.4 has no way to ec2."),
    ],
)
def test_a_server_without_a_way_to_ec2_stays_until_it_has_one(
    silence: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that turned off would be followed by the next one, which has no way either: a loop until the deadline."""
    ec2 = Ec2([silence] * 5)
    release(ec2, monkeypatch)
    assert (ec2.asked, ec2.errors) == (6, [])


def test_a_server_whose_role_may_not_any_more_does_not_stay(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """A client that has seen the job's end has deleted the fleet, and then the role."""
    ec2 = Ec2([Unreachable("POST https://ec2.example/: HTTP 403 UnauthorizedOperation: No.")] * 5)
    release(ec2, monkeypatch)
    assert ec2.asked == 1
    assert "the fleet could not be deleted" in "".join(capfd.readouterr())
