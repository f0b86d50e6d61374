"""Network interfaces given to servers and taken from them: at once where a server is off, by the loops where it runs.

https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/network-interface-attachments.html
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

from skylift.catalogue import InstanceType
from skylift.cloud.domain.error import ServiceError
from skylift.cloud.domain.identity import Caller
from skylift.cloud.domain.instance import Instance
from skylift.cloud.domain.network import NetworkInterface, Subnet
from skylift.cloud.services.api.check import on_row
from skylift.cloud.services.api.ec2_operation import acts, writes
from skylift.cloud.services.api.instance_type import instance_type
from skylift.cloud.services.api.operation import Check, Nothing
from skylift.cloud.services.api.refusal import combination, invalid, invalid_value, refuse_other_values
from skylift.cloud.services.api.resource import arn, new_id, require
from skylift.cloud.store.database import Tx

if TYPE_CHECKING:
    from aws_shapes import ec2

NEUTRAL: dict[str, tuple[object, ...]] = {"NetworkCardIndex": (0,)}

HIGHEST_INDEX = 255


def attach(tx: Tx, _caller: Caller, params: ec2.AttachNetworkInterfaceRequest) -> ec2.AttachNetworkInterfaceResult:
    refuse_other_values(params, NEUTRAL)
    interface = free_interface(tx, params["NetworkInterfaceId"])
    instance = require(tx, Instance, params["InstanceId"])
    if instance.state not in ("running", "stopped"):
        raise ServiceError("IncorrectInstanceState", f"The instance '{instance.id}' is not 'running' or 'stopped'.")
    index = params["DeviceIndex"]
    if not 0 <= index <= HIGHEST_INDEX:
        raise invalid_value(index, "deviceIndex", f"It has to be between 0 and {HIGHEST_INDEX}.")
    others = tx.find(NetworkInterface, instance_id=instance.id)
    if any(one.index == index for one in others):
        raise invalid(f"Instance '{instance.id}' already has an interface attached at device index '{index}'.")
    refuse_zone(tx, interface, instance.zone)
    refuse_beyond(instance_type(instance.type), len(others) + 1, len(interface.addresses))
    attachment_id = new_id("eni-attach")
    attached = replace(
        interface,
        instance_id=instance.id,
        index=index,
        attachment_id=attachment_id,
        attachment="attaching" if instance.state == "running" else "attached",
        attached=tx.now,
        delete_on_termination=False,
    )
    tx.save(attached)
    return {"AttachmentId": attachment_id, "NetworkCardIndex": 0}


def detach(tx: Tx, _caller: Caller, params: ec2.DetachNetworkInterfaceRequest) -> Nothing:
    """`Force` changes nothing: an interface is unplugged without asking the server's system."""
    interface = attached_by(tx, params["AttachmentId"])
    if interface.index == 0:
        raise ServiceError(
            "OperationNotPermitted",
            "The network interface at device index 0 and networkCard index 0 cannot be detached.",
        )
    instance = require(tx, Instance, interface.instance_id or "")
    off = instance.state == "stopped"
    tx.save(interface.without_server() if off else replace(interface, attachment="detaching"))
    return {}


def free_interface(tx: Tx, interface_id: str) -> NetworkInterface:
    """An interface that a server can get."""
    interface = require(tx, NetworkInterface, interface_id)
    if interface.attachment_id:
        raise ServiceError("InvalidNetworkInterface.InUse", f"Interface: [{interface.id}] in use.")
    return interface


def only_one(instance_id: str, interfaces: list[NetworkInterface]) -> NetworkInterface:
    """The interface of an instance. With several, EC2 asks for the id of one."""
    if len(interfaces) > 1:
        raise ServiceError(
            "InvalidInstanceID",
            f"There are multiple interfaces attached to instance '{instance_id}'. "
            "Please specify an interface ID for the operation instead.",
        )
    return interfaces[0]


def attached_by(tx: Tx, attachment_id: str) -> NetworkInterface:
    """The interface of a server that an attachment is of."""
    if attachment_id.startswith("ela-attach-"):
        raise ServiceError("OperationNotPermitted", "You are not allowed to manage 'ela-attach' attachments.")
    interface = tx.get(NetworkInterface, attachment_id=attachment_id)
    if interface is None:
        raise ServiceError("InvalidAttachmentID.NotFound", f"The attachment '{attachment_id}' does not exist.")
    return interface


def refuse_zone(tx: Tx, interface: NetworkInterface, zone: str) -> None:
    if require(tx, Subnet, interface.subnet_id).zone != zone:
        raise combination(
            "You may not attach a network interface to an instance if they are not in the same availability zone"
        )


def refuse_beyond(kind: InstanceType, interfaces: int, addresses: int) -> None:
    """Refuse more interfaces, or more addresses at one of them, than an instance type has room for."""
    if interfaces > kind.interfaces:
        raise ServiceError("AttachmentLimitExceeded", f"Interface count {interfaces} exceeds the limit for {kind.name}")
    if addresses > kind.addresses:
        raise ServiceError(
            "PrivateIpAddressLimitExceeded",
            f"Number of private addresses will exceed limit: an interface of {kind.name} has at most {kind.addresses}.",
        )


def check_detach(tx: Tx, caller: Caller, params: ec2.DetachNetworkInterfaceRequest) -> Iterator[Check]:
    """An attachment is not a resource of its own: the check is on its interface and its server."""
    action = "ec2:DetachNetworkInterface"
    interface = tx.get(NetworkInterface, attachment_id=params["AttachmentId"])
    if interface is None:
        yield Check(action, arn(caller, "network-interface", "*"))
        return
    yield on_row(tx, caller, action, NetworkInterface, interface.id)
    if interface.instance_id:
        yield on_row(tx, caller, action, Instance, interface.instance_id)


OPERATIONS = (
    acts(
        "AttachNetworkInterface",
        attach,
        "NetworkInterfaceId InstanceId DeviceIndex " + " ".join(NEUTRAL),
        "NetworkInterfaceId",
        "InstanceId",
    ),
    writes("DetachNetworkInterface", detach, "AttachmentId Force", check_detach),
)
