"""An instance from its key pair to its end, as on AWS."""

import sys
import time
import uuid
from contextlib import ExitStack
from typing import Any

import boto3

IMAGE = "resolve:ssm:/aws/service/debian/release/13/latest/amd64"
USER_DATA = "#!/bin/sh\necho hello from user data, on $(hostname)\n"


def main() -> int:
    ec2 = boto3.client("ec2")
    name = f"example-{uuid.uuid4().hex[:8]}"
    with ExitStack() as undo:
        ec2.create_key_pair(KeyName=name)
        undo.callback(ec2.delete_key_pair, KeyName=name)
        group = ec2.create_security_group(GroupName=name, Description="the server of an example")["GroupId"]
        undo.callback(ec2.delete_security_group, GroupId=group)
        instance = ec2.run_instances(
            ImageId=IMAGE,
            InstanceType="t3.micro",
            MinCount=1,
            MaxCount=1,
            KeyName=name,
            SecurityGroupIds=[group],
            UserData=USER_DATA,
            TagSpecifications=[{"ResourceType": "instance", "Tags": [{"Key": "Name", "Value": name}]}],
        )["Instances"][0]["InstanceId"]
        undo.callback(ec2.get_waiter("instance_terminated").wait, InstanceIds=[instance], WaiterConfig={"Delay": 1})
        undo.callback(ec2.terminate_instances, InstanceIds=[instance])
        ec2.get_waiter("instance_status_ok").wait(InstanceIds=[instance], WaiterConfig={"Delay": 1})
        found = ec2.describe_instances(InstanceIds=[instance])["Reservations"][0]["Instances"][0]
        print(f"{instance} is {found['State']['Name']} at {found['PublicIpAddress']}")
        print(greeting(ec2, instance))
    return 0


def greeting(ec2: Any, instance: str, patience: float = 60) -> str:
    """What the user data has printed on the console. It runs while the instance boots, so it is waited for."""
    until = time.monotonic() + patience
    while time.monotonic() < until:
        console = ec2.get_console_output(InstanceId=instance, Latest=True).get("Output", "")
        for line in console.splitlines():
            if "hello from user data" in line:
                return str(line.strip())
        time.sleep(0.5)
    raise TimeoutError(f"The console of {instance} has not shown the user data's line in {patience:.0f} s.")


if __name__ == "__main__":
    sys.exit(main())
