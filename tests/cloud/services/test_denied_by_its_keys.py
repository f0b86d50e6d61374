"""A Deny holds for each spelling of what a policy can ask about a request, and for each resource that it reaches."""

from __future__ import annotations

from typing import Any

import pytest
from ec2_fixtures import ACCOUNT, REGION, Cloud
from permission_scene import HERE, Permissions, deny

PROTECTED = {"StringEquals": {"aws:ResourceTag/keep": "yes"}}


@pytest.fixture
def scene(cloud: Cloud) -> Permissions:
    return Permissions(cloud)


@pytest.mark.parametrize("key", ["ec2:Add/group", "ec2:Add/userId", "ec2:Remove/group", "ec2:Remove/userId"])
def test_policies_can_ask_with_whom_an_image_or_a_snapshot_is_shared(scene: Permissions, key: str) -> None:
    """In the structure of today, and in the spelling of older tools."""
    verb, kind = key.removeprefix("ec2:").split("/")
    whom = {"group": "all", "userId": "111122223333"}[kind]
    structured = {verb: [{"Group" if kind == "group" else "UserId": whom}]}
    older = {"OperationType": verb.lower(), **({} if kind == "group" else {"UserIds": [whom]})}
    ways: list[tuple[str, dict[str, Any]]] = [
        ("ModifyImageAttribute", {"LaunchPermission": structured}),
        ("ModifyImageAttribute", {**older, "Attribute": "launchPermission", **_group("UserGroups", kind)}),
        ("ModifySnapshotAttribute", {"CreateVolumePermission": structured}),
        ("ModifySnapshotAttribute", {**older, "Attribute": "createVolumePermission", **_group("GroupNames", kind)}),
    ]
    for name, asked in ways:
        resource = {"ImageId": scene.cloud.image_id} if "Image" in name else {"SnapshotId": "snap-0123456789abcdef0"}
        scene.given(deny(f"ec2:{name}", StringEquals={key: whom}))
        assert not scene.may("ec2", name, **resource, **asked), asked
        scene.given(deny(f"ec2:{name}", StringEquals={key: "other"}))
        assert scene.may("ec2", name, **resource, **asked), asked


def _group(member: str, kind: str) -> dict[str, Any]:
    return {member: ["all"]} if kind == "group" else {}


def test_an_attribute_has_its_value_in_the_older_spelling_too(scene: Permissions) -> None:
    scene.given(deny("ec2:ModifyImageAttribute", StringEquals={"ec2:Attribute/Description": "x"}))
    for asked in ({"Description": {"Value": "x"}}, {"Attribute": "description", "Value": "x"}):
        assert not scene.may("ec2", "ModifyImageAttribute", ImageId=scene.cloud.image_id, **asked)
    assert scene.may(
        "ec2", "ModifyImageAttribute", ImageId=scene.cloud.image_id, Attribute="description", Value="another"
    )
