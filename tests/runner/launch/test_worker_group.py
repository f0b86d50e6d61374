"""The group of a map's further servers: what they are started from."""

from __future__ import annotations

import asyncio
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import boto3
from whole_run import Seen

from skylift.runner.job.job import MapPart, Program
from skylift.runner.job.settings import Settings
from skylift.runner.launch import role
from skylift.runner.launch.bucket import ensure_bucket
from skylift.runner.launch.key import ensure_key
from skylift.runner.launch.network import ensure_network
from skylift.runner.launch.stages import Checked, Provisioned
from skylift.runner.launch.undo import Undo
from skylift.runner.launch.worker_group import make_workers
from skylift.runner.plan.plan_job import Order, plan_job
from skylift.runner.remote.account import open_account
from skylift.runner.ship.upload import Shipment, Upload
from skylift.runner.steps import Clock


def test_they_start_from_an_image_that_stays(settings: Settings, folder: Path, seen: Seen) -> None:
    """They may be started when the image with the environment, which the first server has, is gone."""
    account = open_account(settings)
    api, bucket, number = account.api, account.bucket, account.number
    ensure_bucket(api, bucket)
    base, other = [each["ImageId"] for each in api.call("ec2", "describe_images", Owners=["amazon"])["Images"][:2]]
    (folder / "job.py").touch()
    job = plan_job(Order(Program("script", "job.py")), folder, os.environ)
    part: Any = MapPart(b"", lambda _api, _bucket: None, servers=2)
    shipment = Shipment(replace(job, map=part), 9_999_999_999, Upload((), (), ()), None, None)
    checked = Checked(account, shipment, other, None, "", (), base=base)
    role.create_role(api, job.name, number)
    found = role.equip_role(api, job.name, bucket, number)
    key = ensure_key(api, settings.key_dir, number)
    provisioned = Provisioned(ensure_network(api, bucket), key, found, "#!/bin/sh")

    async def make() -> None:
        async with Undo(account, job.name, seen, lambda: False) as undo:
            await make_workers(checked, provisioned, undo, Clock(seen))
            undo.keep()

    asyncio.run(make())
    (template,) = api.call("ec2", "describe_launch_templates")["LaunchTemplates"]
    assert settings.credentials is not None
    ec2 = boto3.client(
        "ec2", endpoint_url=settings.endpoint_url, region_name="us-east-1", aws_access_key_id="test",
        aws_secret_access_key="secret",
    )  # fmt: skip
    asked = {"LaunchTemplateId": template["LaunchTemplateId"], "Versions": ["$Latest"]}
    (version,) = ec2.describe_launch_template_versions(**asked)["LaunchTemplateVersions"]
    assert version["LaunchTemplateData"]["ImageId"] == base
