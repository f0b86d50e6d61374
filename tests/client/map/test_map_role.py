"""What a map's role may put where later maps look for Dask's environment. Its inputs have that role."""

from __future__ import annotations

import asyncio
import os
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

from support.whole_run import Seen

from skylift.client.job.job import MapPart, Program
from skylift.client.job.settings import Settings
from skylift.client.launch.bucket import ensure_bucket
from skylift.client.launch.check import check
from skylift.client.launch.provision import provision
from skylift.client.launch.role import role_name
from skylift.client.launch.stages import Checked
from skylift.client.launch.undo import Undo
from skylift.client.plan.plan_job import Order, plan_job
from skylift.client.ship.prebuilt import ENVIRONMENTS
from skylift.client.steps import Clock, in_thread


async def provisioned(settings: Settings, folder: Path, seen: Seen, servers: int) -> Checked:
    (folder / "job.py").touch()
    part: Any = MapPart(b"", lambda _api, _bucket: None, servers=servers)
    job = replace(plan_job(Order(Program("script", "job.py")), folder, os.environ), map=part)
    clock = Clock(seen)
    with tempfile.TemporaryFile() as archive:
        checked = await check(job, settings, clock, archive)
        async with Undo(checked.account, job.name, seen, lambda: False) as undo:
            ready = asyncio.ensure_future(in_thread(ensure_bucket, checked.account.api, checked.account.bucket))
            await provision(checked, undo, clock, ready)
            undo.keep()
    return checked


def written(checked: Checked) -> set[str]:
    """The statements that let the role put something below `envs/`."""
    asked = {"RoleName": role_name(checked.job.name), "PolicyName": "job"}
    policy = checked.account.api.call("iam", "get_role_policy", **asked)["PolicyDocument"]
    found = set()
    for each in policy["Statement"]:
        resources = each["Resource"] if isinstance(each["Resource"], list) else [each["Resource"]]
        inside = any(f":::{checked.account.bucket}/{ENVIRONMENTS}/" in resource for resource in resources)
        if inside and "s3:PutObject" in each["Action"]:
            found.add(each["Sid"])
    return found


def test_a_map_on_one_server_plants_no_environment_of_dask(settings: Settings, folder: Path, seen: Seen) -> None:
    """It builds none before its inputs run, so that these could pin what they like."""
    checked = asyncio.run(provisioned(settings, folder, seen, 1))
    assert written(checked) == set()
    told = checked.shipment.tools
    assert told is not None and (told["environment"]["shared"], told["environment"]["alone"]) == (False, True)


def test_nor_does_the_own_server_of_a_map_on_several(settings: Settings, folder: Path, seen: Seen) -> None:
    """Its inputs run before there is one. The first other server builds it, before an input runs there."""
    checked = asyncio.run(provisioned(settings, folder, seen, 3))
    assert written(checked) == set()
    assert checked.tools is not None
    others = checked.tools.building_statements(checked.account.bucket)
    assert [each["Sid"] for each in others] == ["TakeTools", "WriteDownTools", "KeepTools"]
    built = replace(checked.tools, prebuilt=replace(checked.tools.prebuilt, sha256="0" * 64))
    assert [each["Sid"] for each in built.building_statements(checked.account.bucket)] == ["TakeTools"]
