"""Single attributes of network interfaces, described, modified and reset."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from skylift.cloud.domain.error import ServiceError
from skylift.cloud.domain.identity import Caller
from skylift.cloud.domain.network import NetworkInterface
from skylift.cloud.services.api.ec2_operation import acts, shows
from skylift.cloud.services.api.operation import Nothing
from skylift.cloud.services.api.refusal import combination, invalid_value, missing
from skylift.cloud.services.api.resource import require
from skylift.cloud.services.vpc.interface import shown
from skylift.cloud.services.vpc.interface_attachment import attached_by
from skylift.cloud.services.vpc.interface_group import groups_instead
from skylift.cloud.store.database import Tx

if TYPE_CHECKING:
    from aws_shapes import ec2


def describe(
    tx: Tx, caller: Caller, params: ec2.DescribeNetworkInterfaceAttributeRequest
) -> ec2.DescribeNetworkInterfaceAttributeResult:
    interface = require(tx, NetworkInterface, params["NetworkInterfaceId"])
    if not params.get("Attribute"):
        raise missing("attribute")
    whole = shown(tx, caller, interface)
    values: dict[str, ec2.DescribeNetworkInterfaceAttributeResult] = {
        "description": {"Description": {"Value": interface.description}},
        "groupSet": {"Groups": whole["Groups"]},
        "sourceDestCheck": {"SourceDestCheck": {"Value": interface.source_dest_check}},
        "attachment": {"Attachment": whole["Attachment"]} if "Attachment" in whole else {},
        "associatePublicIpAddress": {"AssociatePublicIpAddress": interface.wants_public_ip},
    }
    if params["Attribute"] not in values:
        raise invalid_value(params["Attribute"], "attribute", "Unknown attribute.")
    return {"NetworkInterfaceId": interface.id, **values[params["Attribute"]]}


def modify(tx: Tx, _caller: Caller, params: ec2.ModifyNetworkInterfaceAttributeRequest) -> Nothing:
    interface = own_interface(tx, params["NetworkInterfaceId"])
    asked = [name for name in params if name in _CHANGES]
    if not asked:
        raise missing("attribute")
    if len(asked) > 1:
        raise combination(f"Fields for multiple attribute types specified: {', '.join(asked)}")
    tx.save(_changed(tx, interface, params))
    return {}


def reset(tx: Tx, _caller: Caller, params: ec2.ResetNetworkInterfaceAttributeRequest) -> Nothing:
    """The check of source and destination is all there is to reset; whatever value names it."""
    interface = own_interface(tx, params["NetworkInterfaceId"])
    if "SourceDestCheck" not in params:
        raise missing("sourceDestCheck")
    tx.save(replace(interface, source_dest_check=True))
    return {}


def own_interface(tx: Tx, interface_id: str) -> NetworkInterface:
    """An interface that the account manages itself."""
    interface = require(tx, NetworkInterface, interface_id)
    if interface.kind != "interface":
        raise ServiceError("AuthFailure", "You do not have permission to access the specified resource.", status=403)
    return interface


def _changed(
    tx: Tx, interface: NetworkInterface, params: ec2.ModifyNetworkInterfaceAttributeRequest
) -> NetworkInterface:
    """With the one attribute that the request names as the request wants it."""
    if "Description" in params:
        return replace(interface, description=params["Description"].get("Value", ""))
    if "SourceDestCheck" in params:
        return replace(interface, source_dest_check=params["SourceDestCheck"].get("Value", True))
    if "Groups" in params:
        return replace(interface, group_ids=groups_instead(tx, interface.vpc_id, params["Groups"]))
    return _with_attachment(tx, interface, params["Attachment"])


def _with_attachment(
    tx: Tx, interface: NetworkInterface, asked: ec2.NetworkInterfaceAttachmentChanges
) -> NetworkInterface:
    attachment_id, ends = asked.get("AttachmentId"), asked.get("DeleteOnTermination")
    if not attachment_id or ends is None:
        raise missing("attachment.attachmentId and attachment.deleteOnTermination")
    if attached_by(tx, attachment_id).id != interface.id:
        raise ServiceError(
            "InvalidAttachmentID.NotFound", f"The attachment '{attachment_id}' is not one of {interface.id}."
        )
    return replace(interface, delete_on_termination=ends)


_CHANGES = ("Attachment", "Description", "Groups", "SourceDestCheck")


OPERATIONS = (
    shows("DescribeNetworkInterfaceAttribute", describe, "NetworkInterfaceId Attribute", "NetworkInterfaceId"),
    acts(
        "ModifyNetworkInterfaceAttribute",
        modify,
        "NetworkInterfaceId Description Groups SourceDestCheck Attachment.AttachmentId Attachment.DeleteOnTermination",
        "NetworkInterfaceId",
        "Groups",
    ),
    acts("ResetNetworkInterfaceAttribute", reset, "NetworkInterfaceId SourceDestCheck", "NetworkInterfaceId"),
)
