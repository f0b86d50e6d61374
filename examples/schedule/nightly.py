"""A server that appears on a schedule, works and is gone, by EventBridge Scheduler alone.

python nightly.py NAME 'cron(0 2 * * ? *)' Europe/Berlin
"""

import base64
import json
import sys

import boto3

IMAGE = "resolve:ssm:/aws/service/debian/release/13/latest/amd64"
WORK = """#!/bin/sh
echo "the work of $(date -u +%Y-%m-%d)"
shutdown -h now
"""


def main(name: str, expression: str, timezone: str = "UTC") -> None:
    launch = {
        "ImageId": IMAGE,
        "InstanceType": "t3.micro",
        "MinCount": 1,
        "MaxCount": 1,
        "UserData": base64.b64encode(WORK.encode()).decode(),
        "InstanceInitiatedShutdownBehavior": "terminate",
        # A call that is repeated starts no second server.
        "ClientToken": "<aws.scheduler.execution-id>",
        "TagSpecifications": [
            {
                "ResourceType": "instance",
                "Tags": [
                    {"Key": "Name", "Value": name},
                    {"Key": "scheduled", "Value": "<aws.scheduler.scheduled-time>"},
                ],
            }
        ],
    }
    made = boto3.client("scheduler").create_schedule(
        Name=name,
        ScheduleExpression=expression,
        ScheduleExpressionTimezone=timezone,
        FlexibleTimeWindow={"Mode": "OFF"},
        Target={
            "Arn": "arn:aws:scheduler:::aws-sdk:ec2:runInstances",
            "RoleArn": make_role(name),
            "Input": json.dumps(launch),
            "RetryPolicy": {"MaximumEventAgeInSeconds": 3600},
        },
    )
    print(made["ScheduleArn"])


def make_role(name: str) -> str:
    """The role that the schedule runs servers with: these, and nothing else."""
    iam = boto3.client("iam")
    role = iam.create_role(
        RoleName=name,
        AssumeRolePolicyDocument=policy(
            {"Effect": "Allow", "Principal": {"Service": "scheduler.amazonaws.com"}, "Action": "sts:AssumeRole"}
        ),
    )["Role"]
    iam.put_role_policy(
        RoleName=name,
        PolicyName="run",
        PolicyDocument=policy(
            {"Effect": "Allow", "Action": "ec2:RunInstances", "Resource": "*"},
            {"Effect": "Allow", "Action": "ssm:GetParameters", "Resource": "arn:aws:ssm:*::parameter/aws/service/*"},
            {
                "Effect": "Allow",
                "Action": "ec2:CreateTags",
                "Resource": "*",
                "Condition": {"StringEquals": {"ec2:CreateAction": "RunInstances"}},
            },
        ),
    )
    iam.get_waiter("role_exists").wait(RoleName=name)
    return str(role["Arn"])


def policy(*statements: dict[str, object]) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": statements})


if __name__ == "__main__":
    main(*sys.argv[1:])
