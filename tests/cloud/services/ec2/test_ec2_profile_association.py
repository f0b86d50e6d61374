from __future__ import annotations

import json
from typing import Any

import pytest
from ec2_fixtures import ACCOUNT, Cloud, filters

from skylift.cloud.domain.identity import InstanceProfile, Role
from skylift.cloud.services.api.instance_role import instance_role

TRUST = json.dumps(
    {"Statement": [{"Effect": "Allow", "Principal": {"Service": "ec2.amazonaws.com"}, "Action": "sts:AssumeRole"}]}
)


@pytest.fixture(autouse=True)
def profiles(cloud: Cloud) -> None:
    """`one` and `two` with roles of the same names, and `none` without."""
    with cloud.database.write() as tx:
        for number, name in enumerate(("one", "two", "none")):
            arn = f"arn:aws:iam::{ACCOUNT}:instance-profile/{name}"
            role = None
            if name != "none":
                tx.add(Role(name, f"AROA{number}", f"arn:aws:iam::{ACCOUNT}:role/{name}", "/", TRUST, cloud.clock.now))
                role = name
            tx.add(
                InstanceProfile(name=name, id=f"AIPA{number}", arn=arn, path="/", created=cloud.clock.now, role=role)
            )


def associations(cloud: Cloud, **params: Any) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = cloud.call("DescribeIamInstanceProfileAssociations", **params)[
        "IamInstanceProfileAssociations"
    ]
    return found


def role_of(cloud: Cloud, instance_id: str) -> str | None:
    with cloud.database.read() as tx:
        role = instance_role(tx, instance_id)
    return role.name if role else None


def test_given_replaced_and_taken_away(cloud: Cloud) -> None:
    instance_id = cloud.run()["InstanceId"]
    assert associations(cloud) == []
    made = cloud.call("AssociateIamInstanceProfile", InstanceId=instance_id, IamInstanceProfile={"Name": "one"})
    first = made["IamInstanceProfileAssociation"]
    assert first["State"] == "associating"
    assert cloud.instance(instance_id)["IamInstanceProfile"]["Arn"].endswith("/one")
    assert role_of(cloud, instance_id) == "one"
    two = {"Arn": f"arn:aws:iam::{ACCOUNT}:instance-profile/two"}
    replaced = {"AssociationId": first["AssociationId"], "IamInstanceProfile": two}
    second = cloud.call("ReplaceIamInstanceProfileAssociation", **replaced)["IamInstanceProfileAssociation"]
    assert second["AssociationId"] != first["AssociationId"]
    assert role_of(cloud, instance_id) == "two"
    (shown,) = associations(cloud)
    assert shown == {**second, "State": "associated"}
    assert cloud.code("DisassociateIamInstanceProfile", AssociationId=first["AssociationId"]) == (
        "InvalidAssociationID.NotFound"
    )
    gone = cloud.call("DisassociateIamInstanceProfile", AssociationId=second["AssociationId"])
    assert gone["IamInstanceProfileAssociation"] == {**second, "State": "disassociating"}
    assert associations(cloud) == []
    assert "IamInstanceProfile" not in cloud.instance(instance_id)
    assert role_of(cloud, instance_id) is None


def test_a_launch_with_a_profile_makes_an_association(cloud: Cloud) -> None:
    first = cloud.run(IamInstanceProfile={"Name": "one"})["InstanceId"]
    second = cloud.run(IamInstanceProfile={"Name": "two"})["InstanceId"]
    assert {one["InstanceId"] for one in associations(cloud)} == {first, second}
    (shown,) = associations(cloud, Filters=filters(instance_id=second, state="associated"))
    assert shown["IamInstanceProfile"]["Id"] == "AIPA1"
    assert associations(cloud, AssociationIds=[shown["AssociationId"]]) == [shown]
    page = cloud.call("DescribeIamInstanceProfileAssociations", MaxResults=5)
    assert len(page["IamInstanceProfileAssociations"]) == 2
    cloud.observe(first, "terminated")
    assert [one["InstanceId"] for one in associations(cloud)] == [second]


def test_what_is_refused(cloud: Cloud) -> None:
    instance_id = cloud.run(IamInstanceProfile={"Name": "one"})["InstanceId"]
    other = cloud.run()["InstanceId"]

    def code(instance: str, **profile: str) -> str:
        return cloud.code("AssociateIamInstanceProfile", InstanceId=instance, IamInstanceProfile=profile)

    refusal = cloud.refusal("AssociateIamInstanceProfile", InstanceId=instance_id, IamInstanceProfile={"Name": "two"})
    assert (refusal.code, refusal.message) == (
        "IncorrectState",
        f"There is an existing association for instance {instance_id}",
    )
    assert code("i-00000000000000001", Name="one") == "InvalidInstanceID.NotFound"
    assert code(other, Name="nobody") == "InvalidParameterValue"
    assert code(other, Name="none") == "InvalidParameterValue"
    assert code(other) == "MissingParameter"
    cloud.observe(other, "terminated")
    assert code(other, Name="one") == "IncorrectInstanceState"
    assert cloud.code("DisassociateIamInstanceProfile", AssociationId="iip-assoc-1") == "InvalidAssociationID.Malformed"


def test_whoever_gives_a_profile_passes_its_role(cloud: Cloud) -> None:
    instance_id = cloud.run()["InstanceId"]
    checks = cloud.checks("AssociateIamInstanceProfile", InstanceId=instance_id, IamInstanceProfile={"Name": "one"})
    assert [check.action for check in checks] == ["ec2:AssociateIamInstanceProfile", "iam:PassRole"]
    assert checks[0].context is not None
    assert checks[0].context["ec2:NewInstanceProfile"] == f"arn:aws:iam::{ACCOUNT}:instance-profile/one"
    assert checks[1].resource == f"arn:aws:iam::{ACCOUNT}:role/one"
