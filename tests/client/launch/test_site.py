"""What a job needs to be there: network, key pair, bucket, role. Each made once, whoever else is making it too."""

from __future__ import annotations

import json
import stat
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import asyncssh
import pytest

from skylift.client.errors import NameTaken, Refused, RunError, UsageError
from skylift.client.job.settings import Settings
from skylift.client.launch import role
from skylift.client.launch.bucket import ensure_bucket
from skylift.client.launch.key import ensure_key, ensure_key_file
from skylift.client.launch.network import RANGE, Network, check_groups, ensure_network, find_network, open_ssh
from skylift.client.remote.api import Api
from skylift.client.remote.lock import make_once

BUCKET = "skylift-123456789012-us-east-1"
ACCOUNT = "123456789012"


@pytest.fixture
def bucket(api: Api) -> str:
    ensure_bucket(api, BUCKET)
    return BUCKET


def at_once(call: Callable[[], Any], count: int = 4) -> list[Any]:
    barrier = threading.Barrier(count)

    def one() -> Any:
        barrier.wait()
        return call()

    with ThreadPoolExecutor(count) as pool:
        return [future.result() for future in [pool.submit(one) for _ in range(count)]]


def network_for(api: Api, bucket: str) -> Network:
    """Made, and open to a caller."""
    return open_ssh(api, ensure_network(api, bucket), "203.0.113.7/32")


def vpcs(api: Api) -> list[Any]:
    found: list[Any] = api.call("ec2", "describe_vpcs", Filters=[{"Name": "tag:skylift:network", "Values": ["vpc"]}])[
        "Vpcs"
    ]
    return found


def test_network_has_a_public_subnet_in_each_zone_and_ssh_from_the_caller_only(api: Api, bucket: str) -> None:
    network = network_for(api, bucket)
    (vpc,) = vpcs(api)
    assert vpc["CidrBlock"] == RANGE
    zones = api.call("ec2", "describe_availability_zones")["AvailabilityZones"]
    assert [zone for zone, _ in network.subnets] == sorted(zone["ZoneName"] for zone in zones)
    (group,) = api.call("ec2", "describe_security_groups", GroupIds=[network.groups[0]])["SecurityGroups"]
    (rule,) = group["IpPermissions"]
    assert (rule["IpProtocol"], rule["FromPort"], rule["ToPort"]) == ("tcp", 22, 22)
    assert [each["CidrIp"] for each in rule["IpRanges"]] == ["203.0.113.7/32"]
    main = [{"Name": "vpc-id", "Values": [network.vpc]}, {"Name": "association.main", "Values": ["true"]}]
    (table,) = api.call("ec2", "describe_route_tables", Filters=main)["RouteTables"]
    assert any(
        route.get("DestinationCidrBlock") == "0.0.0.0/0" and route["GatewayId"].startswith("igw-")
        for route in table["Routes"]
    )


def test_network_is_found_again(api: Api, bucket: str) -> None:
    assert network_for(api, bucket) == network_for(api, bucket)
    assert len(vpcs(api)) == 1


def test_concurrent_runs_make_one_network(settings: Settings, api: Api, bucket: str) -> None:
    networks = at_once(lambda: network_for(Api(settings), bucket))
    assert len({network.vpc for network in networks}) == 1
    assert len(vpcs(api)) == 1


def test_second_address_is_let_in_beside_the_first(api: Api, bucket: str) -> None:
    network = network_for(api, bucket)
    open_ssh(api, network, "198.51.100.1/32")
    found = find_network(api)
    assert found is not None
    assert found.callers == {"203.0.113.7/32", "198.51.100.1/32"}
    # A rule that another run made since we looked is no error.
    open_ssh(api, network, "198.51.100.1/32")


@pytest.mark.parametrize(
    "missing", ["create_internet_gateway", "create_route", "create_subnet", "create_security_group"]
)
def test_half_made_network_is_completed(api: Api, bucket: str, missing: str, monkeypatch: pytest.MonkeyPatch) -> None:
    call = api.call

    def dies(service: str, operation: str, **params: Any) -> Any:
        if operation == missing:
            raise KeyboardInterrupt
        return call(service, operation, **params)

    monkeypatch.setattr(api, "call", dies)
    with pytest.raises(KeyboardInterrupt):
        network_for(api, bucket)
    monkeypatch.undo()
    assert find_network(api) is None
    # The dead holder's lease is over.
    monkeypatch.setattr("skylift.client.remote.lock.time.time", lambda: 4e9)
    network = network_for(api, bucket)
    assert len(vpcs(api)) == 1
    assert network.subnets
    gateways = api.call(
        "ec2", "describe_internet_gateways", Filters=[{"Name": "tag:skylift:network", "Values": ["gateway"]}]
    )
    assert len(gateways["InternetGateways"]) == 1


def test_lock_is_held_by_one(settings: Settings, bucket: str) -> None:
    made: list[int] = []

    def make() -> int:
        made.append(1)
        return 1

    assert at_once(lambda: make_once(Api(settings), bucket, "thing", lambda: 1 if made else None, make), 6) == [1] * 6
    assert made == [1]


@pytest.mark.parametrize(
    "content",
    [
        *(b"", b"[]", b"{", b"{}", b'{"until": "soon"}', b'{"until": NaN}', b'{"until": 1e999}', b'{"until": true}'),
        *(b'{"until": 1' + b"0" * 5000 + b"}", b"[" * 100_000, b"\xff"),
    ],
)
def test_what_is_no_lock_is_refused_by_name(api: Api, bucket: str, content: bytes) -> None:
    """Everybody who may write to the bucket may have written it."""
    api.put(bucket, "locks/thing/000001", content)
    with pytest.raises(RunError, match=r"The object s3://.*/locks/thing/000001 is not a lock of skylift's: ") as caught:
        make_once(api, bucket, "thing", lambda: None, lambda: 1)
    assert caught.value.advice.endswith(f"aws s3 rm s3://{bucket}/locks/thing/000001")


def test_key_is_made_once_and_stays_private(settings: Settings, api: Api) -> None:
    key = ensure_key(api, settings.key_dir, ACCOUNT)
    assert stat.S_IMODE(key.private.stat().st_mode) == 0o600
    assert stat.S_IMODE(settings.key_dir.stat().st_mode) == 0o700
    assert f"{asyncssh.read_private_key(str(key.private)).export_public_key().decode().strip()} skylift" == key.public
    assert key.public.startswith("ssh-ed25519 ")
    (known,) = api.call("ec2", "describe_key_pairs")["KeyPairs"]
    assert known["KeyName"] == key.name
    assert ensure_key(api, settings.key_dir, ACCOUNT) == key


def test_concurrent_runs_get_the_same_key(settings: Settings, tmp_path: Path) -> None:
    keys = at_once(lambda: ensure_key(Api(settings), tmp_path / "new", ACCOUNT))
    assert len({(key.name, key.public) for key in keys}) == 1
    assert sorted(path.suffix for path in (tmp_path / "new").iterdir()) == [".pem", ".pub"]


def test_public_half_that_was_lost_is_made_again(settings: Settings, api: Api) -> None:
    key = ensure_key(api, settings.key_dir, ACCOUNT)
    key.private.with_suffix(".pub").unlink()
    assert ensure_key(api, settings.key_dir, ACCOUNT) == key


def test_private_half_that_was_lost_is_told(settings: Settings) -> None:
    key = ensure_key_file(settings.key_dir, ACCOUNT, "us-east-1")
    key.private.unlink()
    with pytest.raises(UsageError, match="is gone"):
        ensure_key_file(settings.key_dir, ACCOUNT, "us-east-1")


def test_key_that_others_can_read_is_refused(settings: Settings) -> None:
    key = ensure_key_file(settings.key_dir, ACCOUNT, "us-east-1")
    key.private.chmod(0o644)
    with pytest.raises(UsageError, match="Others can read"):
        ensure_key_file(settings.key_dir, ACCOUNT, "us-east-1")


def test_key_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match="cannot be used"):
        ensure_key_file(tmp_path / "file" / "keys", ACCOUNT, "us-east-1")


def test_bucket_is_made_once(settings: Settings, api: Api) -> None:
    at_once(lambda: ensure_bucket(Api(settings), BUCKET))
    assert [each["Name"] for each in api.call("s3", "list_buckets")["Buckets"]] == [BUCKET]


def test_boundary_is_made_once(settings: Settings, api: Api) -> None:
    arns = at_once(lambda: role.ensure_boundary(Api(settings), ACCOUNT))
    assert set(arns) == {f"arn:aws:iam::{ACCOUNT}:policy/skylift/skylift-boundary-8"}
    version = api.call("iam", "get_policy_version", PolicyArn=arns[0], VersionId="v1")["PolicyVersion"]
    assert version["Document"] == role.boundary_policy(ACCOUNT)


def test_role_of_a_job(api: Api, bucket: str) -> None:
    role.ensure_boundary(api, ACCOUNT)
    role.create_role(api, "x", ACCOUNT)
    made = role.equip_role(api, "x", bucket, ACCOUNT)
    assert made.profile_arn == f"arn:aws:iam::{ACCOUNT}:instance-profile/skylift/skylift-x"
    found = api.call("iam", "get_role", RoleName="skylift-x")["Role"]
    assert found["PermissionsBoundary"]["PermissionsBoundaryArn"] == role.boundary_arn(ACCOUNT)
    assert found["Tags"][:2] == [{"Key": "Name", "Value": "skylift x"}, {"Key": "skylift:job", "Value": "x"}]
    assert [each["Key"] for each in found["Tags"][2:]] == ["skylift:mark"]
    assert found["AssumeRolePolicyDocument"] == role.TRUST
    policy = api.call("iam", "get_role_policy", RoleName="skylift-x", PolicyName="job")["PolicyDocument"]
    assert policy == role.job_policy("x", bucket, ACCOUNT, "us-east-1")
    with pytest.raises(NameTaken) as taken:
        role.create_role(api, "x", ACCOUNT)
    assert taken.value.exit_code == 2, "nothing was started"
    role.remove_role(api, "x")
    role.remove_role(api, "x")
    with pytest.raises(Refused, match="NoSuchEntity"):
        api.call("iam", "get_role", RoleName="skylift-x")


def test_half_made_role_is_removed(api: Api) -> None:
    role.ensure_boundary(api, ACCOUNT)
    role.create_role(api, "x", ACCOUNT)
    role.remove_role(api, "x")
    assert api.pages("iam", "list_roles", "Roles", PathPrefix="/skylift/") == []


def test_policy_reaches_nothing_but_the_jobs_own() -> None:
    policy = role.job_policy("x-1", "b", ACCOUNT, "eu-west-1")
    by_action: dict[str, list[str]] = {}
    for statement in policy["Statement"]:
        assert statement["Effect"] == "Allow"
        actions, resources = statement["Action"], statement["Resource"]
        for action in [actions] if isinstance(actions, str) else actions:
            assert "*" not in action
            by_action.setdefault(action, []).extend([resources] if isinstance(resources, str) else resources)
    prefix = "arn:aws:s3:::b/jobs/x-1"
    own = [f"{prefix}/record.json", f"{prefix}/in/*", f"{prefix}/server/*"]
    assert by_action["s3:GetObject"] == [*own, "arn:aws:s3:::b/tools/*"]
    assert by_action["s3:PutObject"] == [f"{prefix}/server/*"]
    logs = [f"{prefix}/server/stdout/*", f"{prefix}/server/stderr/*"]
    assert by_action["s3:DeleteObject"] == [f"{prefix}/in/env.json", *logs]
    assert set(by_action) == {
        "s3:GetObject",
        "s3:PutObject",
        "s3:AbortMultipartUpload",
        "s3:DeleteObject",
        "ec2:CreateTags",
        "ec2:StopInstances",
        "ec2:TerminateInstances",
    }
    (tags,) = [each for each in policy["Statement"] if each["Action"] == "ec2:CreateTags"]
    assert tags["Condition"] == {
        "StringEquals": {"aws:ResourceTag/skylift:job": "x-1"},
        "ForAllValues:StringEquals": {"aws:TagKeys": ["skylift:undelivered"]},
        "ArnLike": {"ec2:SourceInstanceARN": f"arn:aws:ec2:eu-west-1:{ACCOUNT}:instance/*"},
    }
    spot = role.job_policy("x-1", "b", ACCOUNT, "eu-west-1", spot=True)["Statement"]
    assert "ec2:CreateTags" not in {str(each["Action"]) for each in spot}, "it cannot keep its disk, nor its server so"
    (ends,) = [each for each in policy["Statement"] if "ec2:StopInstances" in each["Action"]]
    assert ends["Condition"]["StringEquals"] == {"aws:ResourceTag/skylift:job": "x-1"}
    assert ends["Condition"]["ArnLike"] == {"ec2:SourceInstanceARN": f"arn:aws:ec2:eu-west-1:{ACCOUNT}:instance/*"}
    assert len(json.dumps(policy)) < 10240, "the limit of a role's inline policies"


def test_bucket_of_somebody_else(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    def call(service: str, operation: str, **params: Any) -> Any:
        raise Refused("403", "Forbidden", operation)

    monkeypatch.setattr(api, "call", call)
    with pytest.raises(RunError, match="may not use it"):
        ensure_bucket(api, BUCKET)


@pytest.mark.parametrize(("named", "own", "quota", "most"), [(5, 1, None, 5), (6, 0, None, 5), (10, 1, 10, 10)])
def test_more_groups_than_a_server_can_be_in_are_told_before_anything_is_made(
    api: Api, monkeypatch: pytest.MonkeyPatch, named: int, own: int, quota: int | None, most: int
) -> None:
    asked = list[str]()

    def answer(_: Api, service: str, operation: str, **params: Any) -> Any:
        asked.append(params["QuotaCode"])
        if quota is None:
            raise Refused("NoSuchResourceException", "There is no such quota.", operation)
        return {"Quota": {"Value": float(quota)}}

    monkeypatch.setattr(Api, "call", answer)
    for few in range(6 - own):
        check_groups(api, few, own)
    assert asked == []
    with pytest.raises(
        UsageError, match=f"a server can be in {most} security groups, and {named} are named"
    ) as refused:
        check_groups(api, named, own)
    assert refused.value.advice == f"Name {most - own} at the most."
    assert ("in one of their own besides" in refused.value.message) == bool(own)
    if quota is not None:
        check_groups(api, quota - own, own)
