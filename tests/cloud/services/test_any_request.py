"""Whatever a request of the model's shape says, it is carried out or refused in AWS's words; no handler falls over."""

from __future__ import annotations

import random
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from botocore.loaders import Loader
from botocore.model import ServiceModel, Shape
from botocore.validate import ParamValidator
from ec2_fixtures import Cloud, open_cloud

from skylift.cloud.domain.error import ServiceError
from skylift.cloud.services.api.authorize import authorize
from skylift.cloud.services.api.operation import Operation
from skylift.cloud.services.iam.identity import make_root_key
from skylift.cloud.services.table import TABLE
from skylift.cloud.wire.models import OWN_MODELS

REQUESTS = 40
"""To each operation; they are the same in every run."""

TRUST = '{"Statement": [{"Effect": "Allow", "Principal": {"AWS": "123456789012"}, "Action": "sts:AssumeRole"}]}'
WORDS = [
    *("", "x", "a" * 300, "é", "*", "\0", "$Latest", "9" * 20, "-1", "1", "true", "/", "/a/", "null", "{}", TRUST),
    *("10.0.0.0/16", "172.31.0.0/20", "0.0.0.0/0", "10.0.0.5", "::/0", "tcp", "icmp", "-1", "us-east-1a", "t3.micro"),
    *("vpc-12345678", "i-12345678", "eni-12345678", "name", "bucket", "bucket/key", "/bucket/key?versionId=x", "key"),
    *("arn:aws:iam::123456789012:role/name", "arn:aws:iam::aws:policy/AmazonS3FullAccess", "description", "state"),
]
NUMBERS = [-(2**31), -1, 0, 1, 2, 22, 1000, 65535, 65536, 2**31 - 1]


@cache
def model(service: str) -> ServiceModel:
    return ServiceModel(Loader(extra_search_paths=[str(OWN_MODELS)]).load_service_model(service, "service-2"))


class Requests:
    """Requests to one operation, by its model; `image` is one that is there."""

    def __init__(self, operation: Operation, image: str) -> None:
        self._chance = random.Random(f"{operation.service}.{operation.name}")
        self._operation = operation
        self._image = image

    def __iter__(self) -> Iterator[dict[str, Any]]:
        shape = model(self._operation.service).operation_model(self._operation.name).input_shape
        if shape is None:
            return
        for _ in range(REQUESTS):
            often = self._chance.choice((0.05, 0.2, 0.5))
            params = self._taken(self._value(shape, "", often))
            if not ParamValidator().validate(params, shape).has_errors():
                yield params

    def _value(self, shape: Any, name: str, often: float) -> Any:
        if shape.type_name == "structure":
            wanted = [each for each in shape.members if each in shape.required_members or self._chance.random() < often]
            # A body is a file that wire has received.
            return {each: self._value(shape.members[each], each, often) for each in wanted if each != "Body"}
        if shape.type_name == "list":
            return [self._value(shape.member, name, often) for _ in range(self._chance.choice((0, 1, 1, 2)))]
        if shape.type_name == "map":
            return {"x": self._value(shape.value, name, often)}
        return self._plain(shape, name)

    def _plain(self, shape: Shape, name: str) -> Any:
        if shape.type_name == "string":
            known = {"ImageId": self._image, "AssumeRolePolicyDocument": TRUST}.get(name)
            return known or self._chance.choice([*(getattr(shape, "enum", None) or []), *WORDS])
        return {
            "integer": lambda: self._chance.choice(NUMBERS),
            "long": lambda: self._chance.choice(NUMBERS),
            "double": lambda: self._chance.choice((0.0, -1.5, 1e9)),
            "boolean": lambda: self._chance.random() < 0.5,
            "timestamp": lambda: datetime(2026, 1, 1, tzinfo=UTC),
            "blob": lambda: self._chance.choice((b"", b"x", b"\xff\xfe", b"ssh-ed25519 AAAA")),
        }[shape.type_name]()

    def _taken(self, params: dict[str, Any]) -> dict[str, Any]:
        """Without what the operation would refuse to take."""
        for name in self._operation.unsupported(params):
            _drop(params, name.split("."))
        return params


def _drop(value: Any, path: list[str]) -> None:
    for item in value if isinstance(value, list) else [value]:
        if isinstance(item, dict) and path[0] in item:
            if len(path) == 1:
                del item[path[0]]
            else:
                _drop(item[path[0]], path[1:])


@pytest.fixture(scope="module")
def used(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    """One cloud for all of it, with whatever the requests before have made there."""
    directory: Path = tmp_path_factory.mktemp("any")
    (directory / "objects").mkdir()
    cloud = open_cloud(directory)
    with cloud.database.write() as tx:
        make_root_key(tx)
    yield cloud
    cloud.database.close()


def carry_out(cloud: Cloud, operation: Operation, params: dict[str, Any]) -> None:
    try:
        with cloud.database.read() as tx:
            authorize(tx, cloud.caller, operation.checks(tx, cloud.caller, params), service=operation.service)
            # Root is asked for nothing, so that nobody has gone through the checks yet.
            list(operation.checks(tx, cloud.caller, params))
            handlers = operation.prepared(tx, cloud.caller, params)
        for handler in handlers:
            with cloud.database.write() if operation.writes else cloud.database.read() as tx:
                handler(tx, cloud.caller, params)
    except ServiceError as error:
        assert error.code and error.message


def test_no_handler_falls_over(used: Cloud) -> None:
    asked = 0
    for (_, name), operation in sorted(TABLE.items()):
        for params in Requests(operation, used.image_id):
            try:
                carry_out(used, operation, params)
            except Exception as error:
                error.add_note(f"{name} {params!r}")
                raise
            asked += 1
    assert asked > REQUESTS * len(TABLE) / 2
