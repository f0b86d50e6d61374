"""What a server is built of, from the rows of its instance."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import pytest
from ec2_fixtures import ACCOUNT, REGION, Cloud

from skylift.catalogue import types
from skylift.cloud.compute.server.seed_files import Inheritance
from skylift.cloud.loops.ec2.server_spec import CloudSettings, LaunchSpecBuilder
from skylift.cloud.services.api.zone import zone_id

SETTINGS = CloudSettings(
    account=ACCOUNT,
    region=REGION,
    disks=Path("/disks"),
    volumes=Path("/volumes"),
    inheritance=Inheritance({}, {}),
    host_cores=(0, 1),
    cpusets=True,
    swap_accounting=False,
    lxcfs=lambda: None,
    tasks=1024,
)


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        ({}, b""),
        ({"UserData": base64.b64encode(b"#!/bin/sh\n").decode()}, b"#!/bin/sh\n"),
        ({"UserData": base64.b64encode(b"#!/bin/sh\n").decode(), "MetadataOptions": {"HttpEndpoint": "disabled"}}, b""),
    ],
)
def test_a_server_has_the_user_data_that_its_metadata_service_would_tell(
    cloud: Cloud, asked: dict[str, Any], found: bytes
) -> None:
    row = cloud.row(cloud.run(**asked)["InstanceId"])
    with cloud.database.read() as tx:
        spec = LaunchSpecBuilder(SETTINGS, lambda name: types()[name], zone_id).server_spec(tx, row)
    assert {file.path: file.content for file in spec.seed}["/var/lib/cloud/seed/user-data"] == found
