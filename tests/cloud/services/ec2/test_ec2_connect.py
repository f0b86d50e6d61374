from __future__ import annotations

from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from ec2_fixtures import ACCOUNT, REGION, Cloud

from skylift.cloud.domain.error import ServiceError
from skylift.cloud.services.api.authorize import context_of
from skylift.cloud.services.table import TABLE
from skylift.cloud.store.connect import current_keys

OPERATION = TABLE["ec2-instance-connect", "SendSSHPublicKey"]


def line(public: Any) -> str:
    text: str = public.public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()
    return text


KEY = line(ed25519.Ed25519PrivateKey.generate().public_key())


def send(cloud: Cloud, instance_id: str, **more: str) -> dict[str, Any]:
    params = {"InstanceId": instance_id, "InstanceOSUser": "ec2-user", "SSHPublicKey": KEY, **more}
    with cloud.database.write() as tx:
        return OPERATION.handler(tx, cloud.caller, params)


def keys(cloud: Cloud, instance_id: str) -> list[tuple[str, str]]:
    with cloud.database.read() as tx:
        return [(key.os_user, key.public_key) for key in current_keys(tx, instance_id)]


@pytest.fixture
def running(cloud: Cloud) -> str:
    instance_id = str(cloud.run()["InstanceId"])
    cloud.observe(instance_id, "running")
    return instance_id


def test_a_key_is_good_for_a_minute(cloud: Cloud, running: str) -> None:
    assert send(cloud, running) == {"RequestId": cloud.caller.request_id, "Success": True}
    cloud.clock.forward(seconds=59)
    assert keys(cloud, running) == [("ec2-user", KEY)]
    cloud.clock.forward(seconds=1)
    assert keys(cloud, running) == []


def test_sent_again_it_is_good_for_a_minute_from_then(cloud: Cloud, running: str) -> None:
    send(cloud, running)
    cloud.clock.forward(seconds=40)
    send(cloud, running)
    send(cloud, running, InstanceOSUser="admin")
    cloud.clock.forward(seconds=40)
    assert keys(cloud, running) == [("ec2-user", KEY), ("admin", KEY)]


def test_nothing_but_the_key_comes_in(cloud: Cloud, running: str) -> None:
    rsa_key = line(rsa.generate_private_key(public_exponent=65537, key_size=2048).public_key())
    send(cloud, running, SSHPublicKey=f"{rsa_key} someone@example\n")
    assert keys(cloud, running) == [("ec2-user", rsa_key)]
    for wrong in (
        f'command="id" {KEY}',
        f"{KEY}\n{rsa_key} x",
        "x" * 80,
        line(ec.generate_private_key(ec.SECP256R1()).public_key()),
    ):
        with pytest.raises(ServiceError, match=r"InvalidArgsException.*SSHPublicKey"):
            send(cloud, running, SSHPublicKey=wrong)


def test_only_a_running_instance_of_the_right_zone(cloud: Cloud, running: str) -> None:
    with pytest.raises(ServiceError, match="EC2InstanceNotFoundException"):
        send(cloud, "i-00000000000000000")
    with pytest.raises(ServiceError, match=r"InvalidArgsException.*us-east-1f"):
        send(cloud, running, AvailabilityZone="us-east-1f")
    send(cloud, running, AvailabilityZone=cloud.row(running).zone)
    cloud.observe(running, "stopped")
    with pytest.raises(ServiceError, match=r"EC2InstanceStateInvalidException.*stopped"):
        send(cloud, running)
    cloud.observe(running, "terminated")
    with pytest.raises(ServiceError, match="EC2InstanceNotFoundException"):
        send(cloud, running)


def test_permission_is_by_instance_tag_and_login_user(cloud: Cloud, running: str) -> None:
    cloud.call("CreateTags", Resources=[running], Tags=[{"Key": "team", "Value": "a"}])
    with cloud.database.read() as tx:
        (check,) = OPERATION.checks(tx, cloud.caller, {"InstanceId": running, "InstanceOSUser": "ec2-user"})
        context = context_of(tx, cloud.caller, check)
    assert check.action == "ec2-instance-connect:SendSSHPublicKey"
    assert check.resource == f"arn:aws:ec2:{REGION}:{ACCOUNT}:instance/{running}"
    assert context["ec2:osuser"] == "ec2-user"
    assert context["aws:ResourceTag/team"] == context["ec2:ResourceTag/team"] == "a"
