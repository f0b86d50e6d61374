"""When no image of a job's environment is made. tests/real/test_prebuilt_environment.py makes one."""

from __future__ import annotations

import asyncio
import json
import os
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from support.whole_run import Seen

from skylift.client.job.job import Program
from skylift.client.job.settings import Access, Settings
from skylift.client.launch import image_making
from skylift.client.launch.bucket import ensure_bucket
from skylift.client.launch.image_making import LEAST, ImageMaking, sealed
from skylift.client.launch.server import live_servers
from skylift.client.launch.stages import Checked, Launched, Provisioned
from skylift.client.launch.start import Start
from skylift.client.plan.plan_job import Order, plan_job
from skylift.client.remote.account import open_account
from skylift.client.remote.api import Api
from skylift.client.ship.prebuilt import EnvironmentPlace
from skylift.client.ship.upload import InputUpload, Shipment

PLACE = "envs/recipe/ami-1/me-0001"


@pytest.fixture
def checked(settings: Settings, folder: Path) -> Checked:
    account = open_account(replace(settings, environment_images=True))
    ensure_bucket(account.api, account.bucket)
    (folder / "job.py").touch()
    job = plan_job(Order(Program("script", "job.py"), env=["WORD=hush"], outputs=["*"]), folder, os.environ)
    shipment = Shipment(job, 9_999_999_999, InputUpload((), (), ()), None, EnvironmentPlace(PLACE))
    return Checked(account, shipment, "ami-1", None, "configuration", (), base="ami-1")


def put(checked: Checked, **objects: bytes) -> None:
    for name, body in objects.items():
        checked.account.api.put(checked.account.bucket, f"{PLACE}/{name.replace('_', '-')}", body)
    checked.account.api.put(checked.account.bucket, f"{PLACE}/proven.json", json.dumps({"sha256": "a" * 64}).encode())


async def whole(checked: Checked | None, seen: Seen, meanwhile: Callable[[], object] = lambda: None) -> None:
    async with ImageMaking(checked, seen) as making:
        meanwhile()
        await making.finish()


def test_none_of_a_small_environment(checked: Checked, seen: Seen) -> None:
    put(checked, pack_00000=bytes(1000))
    checked.account.api.put(checked.account.bucket, f"{PLACE}/index.json", b"{}")
    asyncio.run(whole(checked, seen))
    assert (live_servers(checked.account.api), seen.notes) == ([], [])


def test_none_of_what_is_not_whole_when_the_job_has_ended(checked: Checked, seen: Seen) -> None:
    put(checked, pack_00000=bytes(LEAST))
    asyncio.run(whole(checked, seen))
    assert (live_servers(checked.account.api), seen.notes) == ([], [])


def test_none_without_a_job_that_wants_one(seen: Seen) -> None:
    asyncio.run(whole(None, seen))
    assert (seen.steps, seen.notes) == ([], [])


def test_leaving_ends_the_wait_for_what_never_comes(checked: Checked, seen: Seen) -> None:
    async def leave() -> None:
        async with ImageMaking(checked, seen):
            pass

    asyncio.run(leave())
    assert seen.notes == []


def test_leaving_waits_for_no_server_that_is_not_ready(
    checked: Checked, seen: Seen, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server takes as long as its environment is large."""
    put(checked, pack_00000=bytes(LEAST))
    api = checked.account.api
    api.put(checked.account.bucket, f"{PLACE}/index.json", b"{}")
    base = api.pages("ec2", "describe_images", "Images", Owners=["amazon"])[0]["ImageId"]
    looked, has_left, looks = threading.Event(), threading.Event(), list[bool]()

    async def run(self: Start, provisioned: Provisioned) -> Launched:
        """No server boots here."""
        server, _ = await self._server(provisioned)
        return Launched(checked.account, checked.job, server, None, 0)

    def is_sealed(_: Checked) -> bool:
        looks.append(has_left.is_set())
        looked.set()
        return looks.count(True) > 2

    monkeypatch.setattr(Start, "run", run)
    monkeypatch.setattr(image_making, "_is_sealed", is_sealed)

    async def leave() -> None:
        async with ImageMaking(replace(checked, base=base, image=base), seen):
            assert await asyncio.to_thread(looked.wait, 60)
            has_left.set()

    asyncio.run(leave())
    # One may have been on its way.
    assert looks.count(True) <= 1
    assert (seen.notes, live_servers(api), checked.account.recorded()) == ([], [], [])


@pytest.mark.parametrize("left", [1, 2])
def test_what_ec2_has_begun_is_waited_for_until_it_is_left_again(
    checked: Checked, seen: Seen, monkeypatch: pytest.MonkeyPatch, left: int
) -> None:
    put(checked, pack_00000=bytes(LEAST))
    api = checked.account.api
    api.put(checked.account.bucket, f"{PLACE}/index.json", b"{}")
    base = api.pages("ec2", "describe_images", "Images", Owners=["amazon"])[0]["ImageId"]
    looked, has_left, looks = threading.Event(), threading.Event(), list[bool]()

    async def run(self: Start, provisioned: Provisioned) -> Launched:
        """No server boots here."""
        server, _ = await self._server(provisioned)
        return Launched(checked.account, checked.job, server, None, 0)

    def is_made(_: object) -> bool:
        looks.append(has_left.is_set())
        looked.set()
        return looks.count(True) > 3

    call = Api.call

    def answer(self: Api, service: str, operation: str, **params: Any) -> Any:
        """Moto makes no image with tags."""
        return {} if operation == "create_image" else call(self, service, operation, **params)

    monkeypatch.setattr(Api, "call", answer)
    monkeypatch.setattr(Start, "run", run)
    monkeypatch.setattr(image_making, "_is_sealed", lambda _: True)
    monkeypatch.setattr(image_making, "_is_made", is_made)
    monkeypatch.setattr(image_making, "_SILENCE", 0.0)

    async def leave() -> None:
        async with ImageMaking(replace(checked, base=base, image=base), seen) as making:
            assert await asyncio.to_thread(looked.wait, 60)
            has_left.set()
            for _ in range(left):
                making.leave()
                # The first one has come to what waits.
                await asyncio.sleep(0)

    asyncio.run(leave())
    # One may have been on its way.
    assert looks.count(True) > 3 if left == 1 else looks.count(True) <= 1
    assert any("Ctrl-C leaves it out" in each for each in seen.notes) == (left == 1)
    assert (live_servers(api), checked.account.recorded()) == ([], [])


def test_an_error_is_told_and_leaves_nothing(checked: Checked, seen: Seen) -> None:
    put(checked, pack_00000=bytes(LEAST))
    api, bucket = checked.account.api, checked.account.bucket
    api.put(bucket, f"{PLACE}/index.json", b"{}")
    settings = replace(checked.account.settings, access=Access(subnet="subnet-0123456789abcdef0"))
    asyncio.run(whole(replace(checked, account=replace(checked.account, settings=settings)), seen))
    (note,) = [each for each in seen.notes if each.startswith("No image of the environment was made: ")]
    assert "subnet-0123456789abcdef0" in note
    assert "image" not in seen.steps
    assert live_servers(api) == []
    assert api.pages("iam", "list_roles", "Roles", PathPrefix="/skylift/") == []
    assert checked.account.recorded() == []


def test_its_server_has_nothing_of_the_job(checked: Checked) -> None:
    builder = sealed(checked, EnvironmentPlace(PLACE, "a" * 64, proven=True), "environment-1")
    record = json.loads(builder.shipment.record())
    assert (record["seal"], record["packs"], record["has_env"], record["outputs"]) == (True, [], False, [])
    assert record["prebuilt"] == {"place": PLACE, "sha256": "a" * 64, "shared": True, "proven": True}
    assert (builder.image, builder.configuration, builder.job.name) == ("ami-1", "", "environment-1")
