"""`--or-on-demand`: a fleet that finds no room for a spot server, and what becomes of the job."""

from __future__ import annotations

import asyncio
import os
from io import BytesIO
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from support.whole_run import Seen

from skylift.client.errors import LaunchFailed
from skylift.client.job.job import Program, Spot
from skylift.client.job.server import Server
from skylift.client.job.settings import Settings
from skylift.client.launch import fleet, undo
from skylift.client.launch.fleet import JobFleet
from skylift.client.launch.key import LocalKeyPair
from skylift.client.launch.network import Network
from skylift.client.launch.role import JobRole
from skylift.client.launch.stages import Checked, Launched, Provisioned
from skylift.client.launch.start import Start
from skylift.client.launch.undo import Undo
from skylift.client.plan.plan_job import Order, plan_job
from skylift.client.remote.patience import Patience
from skylift.client.ship.blob_store import Blob
from skylift.client.ship.pack import Pack
from skylift.client.ship.upload import InputUpload, Shipment
from skylift.client.steps import Clock

PROVISIONED = Provisioned(
    Network("vpc-1", (("us-east-1a", "subnet-a"),), ("sg-1",), frozenset()),
    LocalKeyPair("key", Path("key"), "ssh-ed25519 AAAA"),
    JobRole("skylift-count", "arn:aws:iam::123456789012:instance-profile/skylift/skylift-count"),
    "#!/bin/sh\n",
)


class Market:
    """An EC2 that has room for servers of the fleets in `room`; `done` is what was asked of it, in order."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *room: str) -> None:
        self._room, self.done = room, list[str]()
        monkeypatch.setattr(fleet, "make_template", lambda *_: "lt-1")
        monkeypatch.setattr(fleet, "remove_template", lambda *_: self.done.append("remove template"))
        monkeypatch.setattr(fleet, "start_fleet", self._start)
        monkeypatch.setattr(fleet, "await_server", self._await_server)
        monkeypatch.setattr(fleet, "delete_fleets", self._delete)
        monkeypatch.setattr("skylift.client.launch.start.live_servers", lambda *_: [])
        monkeypatch.setattr("skylift.client.launch.start.cap_server", lambda *_, **__: self.done.append("cap"))
        monkeypatch.setattr(undo, "write_off", lambda *_, **__: self.done.append("write off"))

    def _start(self, _: Any, request: dict[str, Any]) -> JobFleet:
        kind = request["TargetCapacitySpecification"]["DefaultTargetCapacityType"]
        self.done.append(f"start {kind}")
        return JobFleet(kind, "count")

    def _await_server(self, _: Any, found: JobFleet) -> Server:
        if found.id not in self._room:
            raise LaunchFailed("No room.")
        return Server("i-1", "running", None, "", found.job, "t3.small", "")

    def _delete(self, _: Any, fleets: list[JobFleet], *, servers_too: bool) -> None:
        assert servers_too
        self.done += [f"delete {each.id}" for each in fleets]


def start(folder: Path, settings: Settings, spot: Spot) -> str:
    """The instance that the job has; what was made for it is undone where there is none."""
    (folder / "job.py").write_text("print(1)\n")
    job = plan_job(Order(Program("script", "job.py"), name="count", spot=spot), folder, os.environ)

    async def run() -> str:
        seen = Seen()
        account: Any = SimpleNamespace(
            api=SimpleNamespace(put=lambda *_: True, get=lambda *_: b"{}", patience=Patience()),
            bucket="bucket",
            settings=settings,
        )
        upload = InputUpload((Pack(Blob("", "0", 0, BytesIO), 1, 0),), (), ())
        checked = Checked(account, Shipment(job, 9_000, upload, None, None), "ami-1", None, "fit", ())
        async with Undo(account, job.name, seen, lambda: False) as undo:
            undo.add(undo.write_off)
            launched: Launched = await Start(checked, undo, seen, Clock(seen), detached=True).run(PROVISIONED)
            undo.keep()
        return launched.server.instance

    return asyncio.run(run())


def test_the_job_that_goes_on_at_the_full_price_has_not_failed(
    folder: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    market = Market(monkeypatch, "on-demand")
    assert start(folder, settings, Spot(types=("t3.small",), or_on_demand=True)) == "i-1"
    assert market.done == ["start spot", "delete spot", "start on-demand", "cap"]


def test_a_job_for_which_there_is_no_room_at_all_is_written_off_once_its_fleets_are_gone(
    folder: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    market = Market(monkeypatch)
    with pytest.raises(LaunchFailed):
        start(folder, settings, Spot(types=("t3.small",), or_on_demand=True))
    began = ["start spot", "delete spot", "start on-demand", "delete on-demand"]
    assert market.done == [*began, "remove template", "write off"]
