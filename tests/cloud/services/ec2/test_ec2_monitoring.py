from __future__ import annotations

from typing import Any

from ec2_fixtures import Cloud


def launch(cloud: Cloud, **more: Any) -> str:
    made = cloud.call("RunInstances", ImageId=cloud.image_id, InstanceType="t3.micro", MinCount=1, MaxCount=1, **more)
    return str(made["Instances"][0]["InstanceId"])


def state(cloud: Cloud, instance_id: str) -> str:
    (reservation,) = cloud.call("DescribeInstances", InstanceIds=[instance_id])["Reservations"]
    return str(reservation["Instances"][0]["Monitoring"]["State"])


def test_detailed_monitoring_is_switched_on_and_off(cloud: Cloud) -> None:
    instance_id = launch(cloud)
    assert state(cloud, instance_id) == "disabled"
    assert cloud.call("MonitorInstances", InstanceIds=[instance_id]) == {
        "InstanceMonitorings": [{"InstanceId": instance_id, "Monitoring": {"State": "pending"}}]
    }
    assert state(cloud, instance_id) == "enabled"
    assert cloud.call("UnmonitorInstances", InstanceIds=[instance_id]) == {
        "InstanceMonitorings": [{"InstanceId": instance_id, "Monitoring": {"State": "disabling"}}]
    }
    assert state(cloud, instance_id) == "disabled"
    assert cloud.code("MonitorInstances", InstanceIds=["i-0123456789abcdef0"]) == "InvalidInstanceID.NotFound"


def test_a_launch_may_ask_for_it_by_itself_or_by_its_template(cloud: Cloud) -> None:
    assert state(cloud, launch(cloud, Monitoring={"Enabled": True})) == "enabled"
    data = {"ImageId": cloud.image_id, "InstanceType": "t3.micro", "Monitoring": {"Enabled": True}}
    cloud.call("CreateLaunchTemplate", LaunchTemplateName="watched", LaunchTemplateData=data)
    made = cloud.call("RunInstances", LaunchTemplate={"LaunchTemplateName": "watched"}, MinCount=1, MaxCount=1)
    assert made["Instances"][0]["Monitoring"] == {"State": "enabled"}
    instance_id = made["Instances"][0]["InstanceId"]
    assert cloud.call("GetLaunchTemplateData", InstanceId=instance_id)["LaunchTemplateData"]["Monitoring"] == {
        "Enabled": True
    }
