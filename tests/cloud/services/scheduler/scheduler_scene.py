"""A cloud with a role that schedules may use, and the loop that invokes what is due."""

from __future__ import annotations

import json
from datetime import timedelta
from functools import cache
from typing import Any

import pytest
from botocore.loaders import Loader
from botocore.model import ServiceModel
from botocore.validate import validate_parameters
from ec2_fixtures import ACCOUNT, REGION, Cloud, departures

from skylift.cloud.domain.error import ServiceError
from skylift.cloud.domain.schedule import Invocation
from skylift.cloud.services.iam.identity import make_root_key
from skylift.cloud.services.scheduler.group import make_default_group
from skylift.cloud.services.table import TABLE
from skylift.cloud.wiring.schedule import make_schedules

RUN = "arn:aws:scheduler:::aws-sdk:ec2:runInstances"
GROUP = f"arn:aws:scheduler:{REGION}:{ACCOUNT}:schedule-group/default"


@cache
def model(service: str) -> ServiceModel:
    return ServiceModel(Loader().load_service_model(service, "service-2"), service)


def trust(service: str = "scheduler.amazonaws.com", **condition: Any) -> str:
    statement = {"Effect": "Allow", "Principal": {"Service": service}, "Action": "sts:AssumeRole", **condition}
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})


def allow(action: Any, resource: Any = "*", **more: Any) -> dict[str, Any]:
    return {"Effect": "Allow", "Action": action, "Resource": resource, **more}


class SchedulerScene:
    """The clock stands at 2026-11-25 12:00; `nightly` is the name of a schedule of which a test has one."""

    def __init__(self, cloud: Cloud) -> None:
        self.cloud = cloud
        self.database = cloud.database
        self.wakes: list[float] = []
        with self.database.write() as tx:
            make_default_group(tx, ACCOUNT, REGION)
            # Refusals are encrypted with it.
            make_root_key(tx)
        self.loop = make_schedules(self.database, ACCOUNT, REGION, self.wakes.append)
        self.role = self.make_role("runs", allow(["ec2:RunInstances", "ec2:CreateTags"]))

    def make_role(self, name: str, *statements: dict[str, Any], trusted: str | None = None) -> str:
        made = self.ask("iam", "CreateRole", RoleName=name, AssumeRolePolicyDocument=trusted or trust())
        if statements:
            text = json.dumps({"Version": "2012-10-17", "Statement": list(statements)})
            self.ask("iam", "PutRolePolicy", RoleName=name, PolicyName="own", PolicyDocument=text)
        return str(made["Role"]["Arn"])

    def ask(self, service: str, name: str, /, **params: Any) -> Any:
        operation, shapes = TABLE[service, name], model(service).operation_model(name)
        if shapes.input_shape:
            validate_parameters(params, shapes.input_shape)
        if refused := operation.unsupported(params):
            raise ServiceError("InvalidAction", f"not taken: {', '.join(refused)}")
        with self.database.read() as tx:
            assert list(operation.checks(tx, self.cloud.caller, params)), "an operation that takes no permission"
            handlers = operation.prepared(tx, self.cloud.caller, params)
        for handler in handlers:
            with self.database.write() if operation.writes else self.database.read() as tx:
                result = handler(tx, self.cloud.caller, params)
        if shapes.output_shape is not None:
            assert list(departures(result, shapes.output_shape, name)) == []
        return result

    def call(self, name: str, /, **params: Any) -> Any:
        return self.ask("scheduler", name, **params)

    def refusal(self, name: str, /, **params: Any) -> ServiceError:
        with pytest.raises(ServiceError) as caught:
            self.call(name, **params)
        return caught.value

    def request(self, expression: str = "cron(0 2 * * ? *)", **more: Any) -> dict[str, Any]:
        return {
            "Name": "nightly",
            "ScheduleExpression": expression,
            "Target": self.target(),
            "FlexibleTimeWindow": {"Mode": "OFF"},
            **more,
        }

    def target(self, **more: Any) -> dict[str, Any]:
        return {"Arn": RUN, "RoleArn": self.role, "Input": json.dumps(self.launch()), **more}

    def launch(self, **more: Any) -> dict[str, Any]:
        return {"ImageId": self.cloud.image_id, "InstanceType": "t3.micro", "MinCount": 1, "MaxCount": 1, **more}

    def create(self, expression: str = "cron(0 2 * * ? *)", **more: Any) -> None:
        self.call("CreateSchedule", **self.request(expression, **more))

    def pass_time(self, **duration: float) -> None:
        """All at once, as if the cloud had been away, or nobody had asked."""
        self.cloud.clock.forward(**duration)
        self.loop.step()

    @property
    def instances(self) -> list[dict[str, Any]]:
        reservations = self.cloud.call("DescribeInstances")["Reservations"]
        return [instance for reservation in reservations for instance in reservation["Instances"]]

    def count(self, name: str) -> float:
        """The sum of a metric of the group `default`, as far as it can be known by now."""
        now = self.cloud.clock.now
        found = self.ask(
            "cloudwatch",
            "GetMetricStatistics",
            Namespace="AWS/Scheduler",
            MetricName=name,
            Dimensions=[{"Name": "ScheduleGroup", "Value": "default"}],
            StartTime=now - timedelta(days=2),
            EndTime=now + timedelta(minutes=1),
            Period=86400,
            Statistics=["Sum"],
        )
        return sum(one["Sum"] for one in found["Datapoints"])

    @property
    def pending(self) -> list[Invocation]:
        with self.database.read() as tx:
            return tx.find(Invocation)
