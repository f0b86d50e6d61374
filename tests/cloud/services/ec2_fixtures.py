"""A cloud without wire, loops and compute: services over a real database, held against botocore's model of EC2."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from botocore.loaders import Loader
from botocore.model import ServiceModel, Shape
from botocore.validate import validate_parameters
from support.fresh_state import fresh_state

from skylift.cloud.domain.error import ServiceError
from skylift.cloud.domain.facts import CloudFacts
from skylift.cloud.domain.identity import Caller
from skylift.cloud.domain.instance import Image, Instance
from skylift.cloud.domain.network import NetworkInterface
from skylift.cloud.loops.ec2.instance import release, settle
from skylift.cloud.services.api import facts as machine
from skylift.cloud.services.api.operation import Check
from skylift.cloud.services.api.resource_key import of_resource
from skylift.cloud.services.ec2.image import image_id, register_image
from skylift.cloud.services.table import TABLE
from skylift.cloud.services.vpc.vpc import make_default_vpc
from skylift.cloud.store.database import Database
from skylift.cloud.wire.models import OWN_MODELS

ACCOUNT = "123456789012"
REGION = "us-east-1"
IMAGE_NAME = "skylift-debian-13-amd64-20261125"
ARM_IMAGE_NAME = "skylift-debian-13-arm64-20261125"

UNLISTED = {
    "AttachmentStatus": ("available",),
    "DeleteFleetErrorCode": ("ExceededInstantFleetNumForDeletion", "NoTerminateInstancesNotSupported"),
    "NetworkInterfaceType": ("nat_gateway",),
    "State": ("available",),
}
"""Values that AWS documents and answers although the model's enumeration lacks them."""

PYTHON_TYPES: dict[str, tuple[type, ...]] = {
    "string": (str,),
    "integer": (int,),
    "long": (int,),
    "double": (float, int),
    "float": (float, int),
    "boolean": (bool,),
    "timestamp": (datetime,),
    "blob": (bytes,),
}


@cache
def ec2_model() -> ServiceModel:
    return ServiceModel(Loader().load_service_model("ec2", "service-2"))


@cache
def control_model() -> ServiceModel:
    return ServiceModel(Loader(extra_search_paths=[str(OWN_MODELS)]).load_service_model("skylift", "service-2"))


def departures(value: Any, shape: Shape, path: str) -> Iterator[str]:
    """Where a result is not what the model says an answer looks like."""
    if shape.type_name == "structure":
        if not isinstance(value, dict):
            yield f"{path} is {value!r}, not a structure"
            return
        for name, item in value.items():
            if name not in shape.members:
                yield f"{path}.{name} is not in the model"
            else:
                yield from departures(item, shape.members[name], f"{path}.{name}")
    elif shape.type_name == "list":
        if not isinstance(value, list):
            yield f"{path} is {value!r}, not a list"
            return
        for index, item in enumerate(value):
            yield from departures(item, shape.member, f"{path}[{index}]")
    elif shape.type_name == "map":
        if not isinstance(value, dict):
            yield f"{path} is {value!r}, not a map"
            return
        for name, item in value.items():
            yield from departures(item, shape.value, f"{path}[{name}]")
    elif not isinstance(value, PYTHON_TYPES[shape.type_name]) or (
        isinstance(value, bool) != (shape.type_name == "boolean")
    ):
        yield f"{path} is {value!r}, not a {shape.type_name}"
    elif getattr(shape, "enum", None) and value not in (*shape.enum, *UNLISTED.get(shape.name, ())):
        yield f"{path} is {value!r}, not one of {shape.enum}"


@dataclass
class Clock:
    now: datetime = datetime(2026, 11, 25, 12, 0, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now

    def forward(self, **duration: float) -> None:
        self.now += timedelta(**duration)


@dataclass
class Cloud:
    """`call` does what main does: refuse what is not taken, ask for the checks, hand over to the handler."""

    database: Database
    clock: Clock
    caller: Caller
    image_id: str
    arm_image_id: str

    def call(self, operation_name: str, /, **params: Any) -> Any:
        operation = TABLE["ec2", operation_name]
        model = ec2_model().operation_model(operation_name)
        if model.input_shape:
            validate_parameters(params, model.input_shape)
        refused = operation.unsupported(params)
        if refused:
            raise ServiceError("UnsupportedOperation", f"not taken: {', '.join(refused)}")
        with self.database.read() as tx:
            assert list(operation.checks(tx, self.caller, params)), "an operation that nobody needs permission for"
            handlers = operation.prepared(tx, self.caller, params)
        for handler in handlers:
            with self.database.write() if operation.writes else self.database.read() as tx:
                result = handler(tx, self.caller, params)
        if model.output_shape is None:
            assert result == {}
        else:
            assert list(departures(result, model.output_shape, operation_name)) == []
        return result

    def control(self, operation_name: str, /, **params: Any) -> Any:
        """As `call`, of the cloud's own service."""
        operation = TABLE["skylift", operation_name]
        model = control_model().operation_model(operation_name)
        validate_parameters(params, model.input_shape)
        assert operation.unsupported(params) == []
        with self.database.read() as tx:
            assert list(operation.checks(tx, self.caller, params)), "an operation that nobody needs permission for"
        with self.database.write() if operation.writes else self.database.read() as tx:
            result = operation.handler(tx, self.caller, params)
        assert list(departures(result, model.output_shape, operation_name)) == []
        return result

    def refusal(self, operation_name: str, /, **params: Any) -> ServiceError:
        """The error that a call has to end in."""
        with pytest.raises(ServiceError) as caught:
            self.call(operation_name, **params)
        return caught.value

    def code(self, operation_name: str, /, **params: Any) -> str:
        return self.refusal(operation_name, **params).code

    def checks(self, operation_name: str, /, **params: Any) -> list[Check]:
        """What a request takes; each check with the keys of its resource, and without those of the caller."""
        with self.database.read() as tx:
            return [
                replace(one, context={**of_resource(tx, self.caller, one.action, one.resource), **(one.context or {})})
                for one in TABLE["ec2", operation_name].checks(tx, self.caller, params)
            ]

    def run(self, **params: Any) -> dict[str, Any]:
        """Run one instance and answer it; what is not given has a default."""
        asked = {"ImageId": self.image_id, "InstanceType": "t3.micro", "MinCount": 1, "MaxCount": 1, **params}
        instance: dict[str, Any] = self.call("RunInstances", **asked)["Instances"][0]
        return instance

    def instance(self, instance_id: str) -> dict[str, Any]:
        found: dict[str, Any] = self.call("DescribeInstances", InstanceIds=[instance_id])["Reservations"][0][
            "Instances"
        ][0]
        return found

    def row(self, instance_id: str) -> Instance:
        with self.database.read() as tx:
            found = tx.get(Instance, id=instance_id)
        assert found is not None
        return found

    def observe(self, instance_id: str, state: Any) -> None:
        """Write a state down as the instance loop does."""
        with self.database.write() as tx:
            row = tx.get(Instance, id=instance_id)
            assert row is not None
            ended = tx.now if state in ("stopped", "terminated") else None
            tx.save(replace(row, state=state, ended=ended))
            for interface in tx.find(NetworkInterface, instance_id=instance_id):
                if state in ("stopped", "terminated"):
                    release(tx, interface, terminated=state == "terminated")
                elif state == "running":
                    settle(tx, interface)

    def default(self, noun: str) -> dict[str, Any]:
        """The default VPC, or its first subnet or security group."""
        vpc: dict[str, Any] = self.call("DescribeVpcs", Filters=filters(is_default="true"))["Vpcs"][0]
        if noun == "vpc":
            return vpc
        operation, member = {
            "subnet": ("DescribeSubnets", "Subnets"),
            "group": ("DescribeSecurityGroups", "SecurityGroups"),
            "table": ("DescribeRouteTables", "RouteTables"),
        }[noun]
        found: dict[str, Any] = self.call(operation, Filters=filters(vpc_id=vpc["VpcId"]))[member][0]
        return found


def filters(**values: str) -> list[dict[str, Any]]:
    """`vpc_id="x"` is the filter vpc-id; several values are separated by commas."""
    return [{"Name": name.replace("_", "-"), "Values": value.split(",")} for name, value in values.items()]


def tagged(resource_type: str, **tags: str) -> list[dict[str, Any]]:
    pairs = [{"Key": key, "Value": value} for key, value in tags.items()]
    return [{"ResourceType": resource_type, "Tags": pairs}]


def open_cloud(tmp_path: Path) -> Cloud:
    clock = Clock()
    database = Database(fresh_state(tmp_path), clock=clock)
    caller = Caller(
        kind="root",
        account=ACCOUNT,
        region=REGION,
        arn=f"arn:aws:iam::{ACCOUNT}:root",
        user_id=ACCOUNT,
        access_key_id="AKIAEXAMPLE",
        source_ip="127.0.0.1",
        request_id="11111111-2222-3333-4444-555555555555",
    )
    images = [
        Image(image_id(name), name, "Debian 13, a stand-in", str(tmp_path / name), 8, clock.now, architecture)
        for name, architecture in ((IMAGE_NAME, "x86_64"), (ARM_IMAGE_NAME, "arm64"))
    ]
    with database.write() as tx:
        machine.observe(tx, CloudFacts(ACCOUNT, REGION, loopback_net=7, endpoint="127.0.0.1:4520"))
        make_default_vpc(tx, REGION)
        for image in images:
            register_image(tx, image)
    return Cloud(database, clock, caller, images[0].id, images[1].id)
