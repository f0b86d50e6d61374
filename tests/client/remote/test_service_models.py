"""What is kept of AWS's models: all that the client calls, and all that these calls need."""

from __future__ import annotations

import ast
import json
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from botocore import xform_name
from botocore.credentials import InstanceMetadataProvider
from botocore.loaders import Loader
from botocore.model import OperationModel, ServiceModel, Shape
from botocore.regions import EndpointResolver

import skylift.client
from skylift.client.job.cache import Cache
from skylift.client.job.settings import Credentials, NewestImage, Secret, Settings
from skylift.client.remote import service_models as models
from skylift.client.remote.api import Api
from skylift.client.remote.service_models import OPERATIONS, KeptModels, trim

BY_OTHERS = {
    "s3": {"CreateMultipartUpload", "UploadPart", "CompleteMultipartUpload", "CreateSession", "HeadBucket"},
    "sts": {"AssumeRole", "AssumeRoleWithWebIdentity"},
}
"""What s3transfer and botocore call by themselves: for uploads, for buckets of other kinds and regions, to sign in."""
WHOLE = Loader()
CLIENT = Path(skylift.client.__file__).parent


def model(service: str) -> Any:
    return WHOLE.load_service_model(service, "service-2")


def words_of_the_client() -> Iterator[str]:
    for path in CLIENT.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                yield node.value
            elif isinstance(node, ast.Attribute):
                yield node.attr


@pytest.mark.parametrize("service", sorted(OPERATIONS))
def test_the_table_has_every_operation_that_the_client_names_and_no_other(service: str) -> None:
    by_name = {xform_name(each): each for each in model(service)["operations"]}
    named = {by_name[word] for word in words_of_the_client() if word in by_name}
    by_others = BY_OTHERS.get(service, set())
    # Two services may have operations of one name; those that only the other one is asked for are not missing here.
    elsewhere = {each for other, names in OPERATIONS.items() if other != service for each in names}
    assert named - set(OPERATIONS[service]) - elsewhere == set()
    assert set(OPERATIONS[service]) - named - by_others == set()
    assert by_others <= set(OPERATIONS[service])


def test_the_table_has_every_service_that_the_client_asks() -> None:
    asked = set()
    for path in CLIENT.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.args:
                first = node.args[0]
                # As a call of a service, or as one that is handed to somebody who will make it.
                if isinstance(first, ast.Attribute) and first.attr in {"call", "pages", "retry_not_found"}:
                    first = node.args[1]
                elif node.func.attr not in {"call", "pages", "retry_not_found", "_client"}:
                    continue
                if isinstance(first, ast.Constant):
                    asked.add(first.value)
    assert {"ec2", "s3", "iam"} <= asked <= set(OPERATIONS)


def told(shape: Shape | None, seen: dict[str, Any]) -> dict[str, Any]:
    """All that a client knows of a shape and of those below it."""
    if shape is None or shape.name in seen:
        return seen
    below = {**getattr(shape, "members", {})}
    below.update({name: getattr(shape, name) for name in ("member", "key", "value") if hasattr(shape, name)})
    seen[shape.name] = (
        shape.type_name,
        shape.serialization,
        {**shape.metadata, "enum": None},
        {name: each.name for name, each in below.items()},
    )
    for each in below.values():
        told(each, seen)
    return seen


def told_of(operation: OperationModel) -> list[Any]:
    return [
        operation.http,
        operation.metadata,
        operation.auth_type,
        operation.endpoint,
        operation.http_checksum,
        [(each.name, each.member_name) for each in operation.context_parameters],
        operation.static_context_parameters,
        told(operation.input_shape, {}),
        told(operation.output_shape, {}),
        [told(each, {}) for each in operation.error_shapes],
    ]


@pytest.mark.parametrize(
    ("service", "operation"), [(service, each) for service, names in OPERATIONS.items() for each in names]
)
def test_an_operation_is_kept_whole(service: str, operation: str) -> None:
    kept = ServiceModel(trim(f"{service}.service-2", model(service)), service)
    whole = ServiceModel(model(service), service)
    assert told_of(kept.operation_model(operation)) == told_of(whole.operation_model(operation))


@pytest.mark.parametrize("service", sorted(OPERATIONS))
def test_endpoints_are_as_botocore_finds_them(service: str) -> None:
    data = WHOLE.load_data("endpoints")
    kept, whole = EndpointResolver(trim("endpoints", data)), EndpointResolver(data)
    for region in ("us-east-1", "eu-central-1", "cn-north-1", "us-gov-west-1"):
        assert kept.construct_endpoint(service, region) == whole.construct_endpoint(service, region)


def test_a_model_is_read_whole_once(tmp_path: Path) -> None:
    loads = []

    def load() -> Any:
        loads.append(1)
        return model("sts")

    first = KeptModels(Cache(tmp_path), "1.0").get("sts.service-2", load)
    again = KeptModels(Cache(tmp_path), "1.0").get("sts.service-2", load)
    assert first == again == trim("sts.service-2", model("sts"))
    assert len(loads) == 1
    KeptModels(Cache(tmp_path), "1.1").get("sts.service-2", load)
    assert len(loads) == 2
    assert [each.name for each in tmp_path.iterdir()] == ["sts.service-2.json"]


@pytest.fixture(autouse=True)
def no_models_of_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """The AWS CLI, which other tests import, adds its own to this process's environment."""
    monkeypatch.delenv("AWS_DATA_PATH", raising=False)


def settings(tmp_path: Path) -> Settings:
    return Settings(
        region="eu-central-1",
        key_dir=tmp_path / "keys",
        image=NewestImage("x", ("amazon",)),
        caller_address=lambda: "127.0.0.1",
        credentials=Credentials("AKIAIOSFODNN7EXAMPLE", Secret("secret")),
        cache=Cache(tmp_path / "cache"),
    )


def test_clients_are_made_from_what_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Loader, "CUSTOMER_DATA_PATH", str(tmp_path / "none"))
    for _ in range(2):
        api = Api(settings(tmp_path))
        api.warm()
        assert api._client("s3").meta.endpoint_url == "https://s3.eu-central-1.amazonaws.com"
        assert api._client("iam").meta.endpoint_url == "https://iam.amazonaws.com"
        assert api._client("ec2").can_paginate("describe_instances")
        # The second time there is nothing but these files.
        monkeypatch.setattr(Loader, "load_service_model", None)
    assert (tmp_path / "cache" / "ec2.service-2.json").stat().st_size < 300_000


def test_from_another_version_of_what_trims_them_they_are_made_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    changed = tmp_path / "models.py"
    changed.write_text(Path(models.__file__).read_text() + "# as it will be\n")
    KeptModels(Cache(tmp_path), "1.0").get("sts.service-2", lambda: model("sts"))
    monkeypatch.setattr(models, "__file__", str(changed))
    loads = []
    KeptModels(Cache(tmp_path), "1.0").get("sts.service-2", lambda: loads.append(1) or model("sts"))
    assert loads == [1]


ROLE = "arn:aws:iam::123456789012:role/worker"
PROFILES = f"""
[profile base]
aws_access_key_id = AKIAIOSFODNN7EXAMPLE
aws_secret_access_key = secret

[profile assumed]
role_arn = {ROLE}
source_profile = base

[profile federated]
role_arn = {ROLE}
web_identity_token_file = TOKEN
"""


@pytest.mark.parametrize("profile", ["assumed", "federated"])
def test_credentials_that_sts_is_asked_for(
    profile: str, endpoint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Loader, "CUSTOMER_DATA_PATH", str(tmp_path / "none"))
    for name in [each for each in os.environ if each.startswith("AWS_")]:
        monkeypatch.delenv(name)
    (tmp_path / "token").write_text("a token")
    (tmp_path / "config").write_text(PROFILES.replace("TOKEN", str(tmp_path / "token")))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_PROFILE", profile)
    monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
    api = Api(replace(settings(tmp_path), credentials=None, endpoint_url=endpoint))
    assert ":assumed-role/worker/" in api.call("sts", "get_caller_identity")["Arn"]


def test_where_there_are_no_credentials_they_are_not_looked_for_more_often_than_that(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a laptop each look at a server's metadata service waits for a second."""
    for name in [each for each in os.environ if each.startswith("AWS_")]:
        monkeypatch.delenv(name)
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(name, str(tmp_path / "none"))
    looks: list[Any] = []

    def load(self: InstanceMetadataProvider) -> None:
        looks.append(self)

    monkeypatch.setattr(InstanceMetadataProvider, "load", load)
    Api(replace(settings(tmp_path), credentials=None)).warm()
    assert len(looks) == 4, "once for each client, and once for all"


def test_a_home_that_we_may_not_look_into(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # For root there is none but a name that no file can have.
    monkeypatch.setattr(Loader, "CUSTOMER_DATA_PATH", str(tmp_path / ("x" * 300) / "models"))
    assert Api(settings(tmp_path))._client("sts").meta.service_model.operation_names == sorted(OPERATIONS["sts"])


def test_who_has_models_of_their_own_gets_these(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = tmp_path / "own" / "sts" / "2011-06-15"
    own.mkdir(parents=True)
    changed = {**model("sts"), "operations": {"GetCallerIdentity": model("sts")["operations"]["GetCallerIdentity"]}}
    (own / "service-2.json").write_text(json.dumps(changed))
    monkeypatch.setenv("AWS_DATA_PATH", str(tmp_path / "own"))
    client = Api(settings(tmp_path))._client("sts")
    assert client.meta.service_model.operation_names == ["GetCallerIdentity"]
    assert not (tmp_path / "cache").exists()
