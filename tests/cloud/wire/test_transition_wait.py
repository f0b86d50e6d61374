"""Answers that wait a moment for what is on its way."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from wire_endpoint import Running, running

from skylift.cloud.wire import pipeline
from skylift.cloud.wire.call import ModelCall
from skylift.cloud.wire.transition_wait import TransitionWait


class Server:
    """What DescribeInstances tells: a server that is pending, until it is not."""

    def __init__(self) -> None:
        self.state = "pending"
        self.looks = 0
        self.looked = threading.Event()
        self.settling = TransitionWait(self._unsettled)

    def describe(self, params: Mapping[str, Any], call: ModelCall) -> dict[str, Any]:
        self.looks += 1
        self.looked.set()
        return {"Reservations": [{"Instances": [{"InstanceId": "i-1", "State": {"Name": self.state}}]}]}

    def becomes(self, state: str) -> None:
        self.state = state
        self.settling.changed()

    def _unsettled(self, call: ModelCall, answer: Mapping[str, object]) -> bool:
        return bool(call.params.get("InstanceIds")) and self.state == "pending"


@pytest.fixture
def server() -> Server:
    return Server()


@pytest.fixture
def cloud(tmp_path: Path, server: Server) -> Iterator[Running]:
    with running(tmp_path, server.settling) as started:
        vars(started.service)["_DescribeInstances"] = server.describe
        yield started


def state_in(answer: Any) -> str:
    return str(answer["Reservations"][0]["Instances"][0]["State"]["Name"])


def test_it_shows_what_came_meanwhile(cloud: Running, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    # It could wait a minute: that it does not is what this is about.
    monkeypatch.setattr(pipeline, "PATIENCE", 60.0)

    def boot() -> None:
        assert server.looked.wait(60)
        # What does not concern it changes, too.
        server.settling.changed()
        server.becomes("running")

    booting = threading.Thread(target=boot)
    booting.start()
    assert state_in(cloud.client("ec2").describe_instances(InstanceIds=["i-1"])) == "running"
    booting.join()
    assert 2 <= server.looks <= 3


def test_after_a_moment_it_shows_what_there_is(cloud: Running, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pipeline, "PATIENCE", 0.1)
    began = time.monotonic()
    assert state_in(cloud.client("ec2").describe_instances(InstanceIds=["i-1"])) == "pending"
    assert time.monotonic() - began >= 0.1
    assert server.looks == 1


def test_nothing_else_waits(cloud: Running, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pipeline, "PATIENCE", 60.0)
    assert state_in(cloud.client("ec2").describe_instances()) == "pending"
    server.becomes("running")
    assert state_in(cloud.client("ec2").describe_instances(InstanceIds=["i-1"])) == "running"
    assert server.looks == 2


def test_nobody_waits_at_an_endpoint_that_ends(cloud: Running, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pipeline, "PATIENCE", 60.0)
    told: list[str] = []
    client = cloud.client("ec2")
    asking = threading.Thread(target=lambda: told.append(state_in(client.describe_instances(InstanceIds=["i-1"]))))
    asking.start()
    assert server.looked.wait(60)
    cloud.loop.call_soon_threadsafe(server.settling.stop)
    asking.join(30)
    assert told == ["pending"]


def test_as_many_as_like_wait_and_others_are_answered(
    cloud: Running, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """More than there are workers: who waits has none."""
    monkeypatch.setattr(pipeline, "PATIENCE", 60.0)
    told: list[str] = []
    clients = [cloud.client("ec2") for _ in range(20)]
    asking = [
        threading.Thread(target=lambda each=each: told.append(state_in(each.describe_instances(InstanceIds=["i-1"]))))
        for each in clients
    ]
    for thread in asking:
        thread.start()
    while server.looks < len(clients):
        assert cloud.client("sts").get_caller_identity()["Account"] == "123456789012"
    assert told == []
    server.becomes("running")
    for thread in asking:
        thread.join(30)
    assert told == ["running"] * len(clients)
