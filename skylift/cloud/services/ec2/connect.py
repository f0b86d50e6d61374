"""EC2 Instance Connect: a public key that opens a server for a minute.

The server's sshd reads it from the metadata service, as on AWS.
https://docs.aws.amazon.com/ec2-instance-connect/latest/APIReference/API_SendSSHPublicKey.html
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import TYPE_CHECKING

from skylift.cloud.domain.connect import SessionKey
from skylift.cloud.domain.error import ServiceError
from skylift.cloud.domain.identity import Caller
from skylift.cloud.domain.instance import Instance
from skylift.cloud.services.api.operation import Check, Operation
from skylift.cloud.services.api.resource import arn
from skylift.cloud.services.ec2 import keypair
from skylift.cloud.store.connect import forget_expired
from skylift.cloud.store.database import Tx

if TYPE_CHECKING:
    from aws_shapes import ec2_instance_connect

GOOD_FOR = timedelta(seconds=60)


def send_ssh_public_key(
    tx: Tx, caller: Caller, params: ec2_instance_connect.SendSSHPublicKeyRequest
) -> ec2_instance_connect.SendSSHPublicKeyResponse:
    """The key lets its owner in from now on for 60 seconds; a session that has begun by then goes on.

    Raises EC2InstanceNotFoundException, EC2InstanceStateInvalidException, InvalidArgsException.
    """
    instance = tx.get(Instance, id=params["InstanceId"])
    if instance is None or instance.state == "terminated":
        raise ServiceError("EC2InstanceNotFoundException", f"There is no instance {params['InstanceId']}.")
    if instance.state != "running":
        raise ServiceError(
            "EC2InstanceStateInvalidException",
            f"Instance {instance.id} is {instance.state}: it has to be running to be connected to.",
        )
    if params.get("AvailabilityZone", instance.zone) != instance.zone:
        raise ServiceError("InvalidArgsException", f"Instance {instance.id} is not in {params['AvailabilityZone']}.")
    forget_expired(tx)
    key = SessionKey(instance.id, params["InstanceOSUser"], _line(params["SSHPublicKey"]), tx.now + GOOD_FOR)
    # Sent again, it is good for a minute from now.
    tx.remove(key)
    tx.add(key)
    return {"RequestId": caller.request_id, "Success": True}


def checks(_tx: Tx, caller: Caller, params: ec2_instance_connect.SendSSHPublicKeyRequest) -> Iterator[Check]:
    resource = arn(caller, "instance", params["InstanceId"])
    yield Check("ec2-instance-connect:SendSSHPublicKey", resource, {"ec2:osuser": params["InstanceOSUser"]})


def _line(key: str) -> str:
    """The key alone, in its canonical form: no option or second line of `authorized_keys` comes in with it."""
    refusal = ServiceError("InvalidArgsException", "SSHPublicKey has to be one RSA or ED25519 public key of OpenSSH.")
    if len(key.strip().splitlines()) > 1 and not key.lstrip().startswith("---- BEGIN SSH2 PUBLIC KEY"):
        raise refusal
    try:
        return keypair.login_key(key.encode())
    except ServiceError as error:
        raise refusal from error


OPERATIONS = (
    Operation(
        "ec2-instance-connect",
        "SendSSHPublicKey",
        send_ssh_public_key,
        frozenset(("InstanceId", "InstanceOSUser", "SSHPublicKey", "AvailabilityZone")),
        checks,
        writes=True,
    ),
)
