"""Stop protection, and ModifyInstanceAttribute in its older spelling."""

from __future__ import annotations

import pytest
from ec2_fixtures import Cloud


@pytest.fixture
def protected(cloud: Cloud) -> str:
    instance_id: str = cloud.run(DisableApiStop=True)["InstanceId"]
    cloud.observe(instance_id, "running")
    return instance_id


def attribute(cloud: Cloud, instance_id: str, name: str) -> object:
    answer = cloud.call("DescribeInstanceAttribute", InstanceId=instance_id, Attribute=name)
    return answer[name[0].upper() + name[1:]]["Value"]


@pytest.mark.parametrize(("operation", "done"), [("StopInstances", "stopped"), ("TerminateInstances", "terminated")])
def test_a_protected_instance_is_neither_stopped_nor_ended(
    cloud: Cloud, protected: str, operation: str, done: str
) -> None:
    refusal = cloud.refusal(operation, InstanceIds=[protected], Force=True)
    assert refusal.code == "OperationNotPermitted"
    assert refusal.message == (
        f"The instance '{protected}' may not be {done}. Modify its 'disableApiStop' instance attribute and try again."
    )
    assert cloud.row(protected).desired == "running"
    cloud.call("RebootInstances", InstanceIds=[protected])
    cloud.call("ModifyInstanceAttribute", InstanceId=protected, DisableApiStop={"Value": False})
    cloud.call(operation, InstanceIds=[protected])


def test_one_protected_instance_keeps_all_of_a_call(cloud: Cloud, protected: str) -> None:
    other = cloud.run()["InstanceId"]
    cloud.observe(other, "running")
    assert cloud.code("StopInstances", InstanceIds=[other, protected]) == "OperationNotPermitted"
    assert cloud.row(other).state == "running"


def test_it_does_not_set_termination_protection(cloud: Cloud, protected: str) -> None:
    assert attribute(cloud, protected, "disableApiStop") is True
    assert attribute(cloud, protected, "disableApiTermination") is False
    template = cloud.call("GetLaunchTemplateData", InstanceId=protected)["LaunchTemplateData"]
    assert template["DisableApiStop"] is True


def test_launch_templates_carry_it(cloud: Cloud) -> None:
    data = {"ImageId": cloud.image_id, "InstanceType": "t3.micro", "DisableApiStop": True}
    cloud.call("CreateLaunchTemplate", LaunchTemplateName="kept", LaunchTemplateData=data)
    run = {"MinCount": 1, "MaxCount": 1, "LaunchTemplate": {"LaunchTemplateName": "kept"}}
    made = cloud.call("RunInstances", **run)["Instances"][0]["InstanceId"]
    assert cloud.row(made).stop_protected


@pytest.mark.parametrize(
    ("name", "value", "shown"),
    [
        ("disableApiStop", "True", True),
        ("disableApiTermination", "true", True),
        ("instanceInitiatedShutdownBehavior", "terminate", "terminate"),
        ("instanceType", "t3.large", "t3.large"),
        ("sourceDestCheck", "false", False),
        ("userData", "aGVsbG8=", "aGVsbG8="),
    ],
)
def test_the_older_spelling_says_the_same(cloud: Cloud, name: str, value: str, shown: object) -> None:
    instance_id = cloud.run()["InstanceId"]
    cloud.observe(instance_id, "stopped")
    cloud.call("ModifyInstanceAttribute", InstanceId=instance_id, Attribute=name, Value=value)
    assert attribute(cloud, instance_id, name) == shown


def test_the_older_spelling_is_checked_and_authorised_as_the_newer(cloud: Cloud, protected: str) -> None:
    def code(**params: object) -> str:
        return cloud.code("ModifyInstanceAttribute", InstanceId=protected, **params)

    assert code(Attribute="disableApiStop", Value="yes") == "InvalidParameterValue"
    assert code(Attribute="disableApiStop") == "MissingParameter"
    assert code(Value="true") == "MissingParameter"
    assert code(Attribute="groupSet", Value="sg-1") == "InvalidParameterValue"
    assert code(Attribute="userData", Value="?") == "InvalidUserData.Malformed"
    assert code(Attribute="instanceType", Value="t3.large") == "IncorrectInstanceState"
    both = {"Attribute": "disableApiStop", "Value": "true", "DisableApiStop": {"Value": False}}
    assert code(**both) == "InvalidParameterCombination"
    params = {"InstanceId": protected, "Attribute": "disableApiStop", "Value": "false"}
    (check,) = cloud.checks("ModifyInstanceAttribute", **params)
    assert check.context is not None
    assert check.context["ec2:Attribute/DisableApiStop"] == "false"
