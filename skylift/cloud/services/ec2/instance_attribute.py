"""Single attributes of instances, described and modified."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from skylift.cloud.domain.error import ServiceError
from skylift.cloud.domain.identity import Caller
from skylift.cloud.domain.instance import Image, Instance
from skylift.cloud.domain.network import NetworkInterface, SecurityGroup
from skylift.cloud.domain.spot import SpotRequest
from skylift.cloud.domain.volume import Volume
from skylift.cloud.services.api.check import on, on_row
from skylift.cloud.services.api.ec2_operation import acts, shows, writes
from skylift.cloud.services.api.instance_type import instance_type
from skylift.cloud.services.api.operation import Check, Nothing, Params
from skylift.cloud.services.api.refusal import combination, invalid_value, missing, refuse_other_values
from skylift.cloud.services.api.resource import require
from skylift.cloud.services.api.tag import check_metadata_keys
from skylift.cloud.services.ec2.instance_type import refuse_unless_offered
from skylift.cloud.services.ec2.instance_view import InstanceContext, view
from skylift.cloud.services.ec2.instance_view import metadata_options as shown_options
from skylift.cloud.services.ec2.launch import metadata_options, refuse_other_architecture, shutdown_behavior
from skylift.cloud.services.ec2.launch_request import metadata_request
from skylift.cloud.services.ec2.legacy_attribute import as_structure
from skylift.cloud.services.ec2.metadata_defaults import refuse_tokenless
from skylift.cloud.services.ec2.spot_option import not_protected, not_stopped
from skylift.cloud.services.ec2.user_data import user_data
from skylift.cloud.services.vpc.interface_attachment import only_one, refuse_beyond
from skylift.cloud.services.vpc.interface_group import groups_instead
from skylift.cloud.store.database import Tx

if TYPE_CHECKING:
    from aws_shapes import ec2

NEUTRAL: dict[str, tuple[object, ...]] = {"EbsOptimized.Value": (False,), "EnaSupport.Value": (True,)}


def describe(tx: Tx, caller: Caller, params: ec2.DescribeInstanceAttributeRequest) -> ec2.InstanceAttribute:
    instance = require(tx, Instance, params["InstanceId"])
    shown = view(instance, InstanceContext.of(tx, caller, [instance]))
    attribute = params["Attribute"]
    values: dict[str, ec2.InstanceAttribute] = {
        "instanceType": {"InstanceType": {"Value": instance.type}},
        "kernel": {"KernelId": {}},
        "ramdisk": {"RamdiskId": {}},
        "userData": {"UserData": {"Value": instance.user_data} if instance.user_data else {}},
        "disableApiTermination": {"DisableApiTermination": {"Value": instance.termination_protected}},
        "disableApiStop": {"DisableApiStop": {"Value": instance.stop_protected}},
        "instanceInitiatedShutdownBehavior": {
            "InstanceInitiatedShutdownBehavior": {"Value": instance.shutdown_behavior}
        },
        "rootDeviceName": {"RootDeviceName": {"Value": shown["RootDeviceName"]}},
        "blockDeviceMapping": {"BlockDeviceMappings": shown["BlockDeviceMappings"]},
        "productCodes": {"ProductCodes": []},
        "sourceDestCheck": {"SourceDestCheck": {"Value": shown.get("SourceDestCheck", True)}},
        "groupSet": {"Groups": shown["SecurityGroups"]},
        "ebsOptimized": {"EbsOptimized": {"Value": False}},
        "sriovNetSupport": {"SriovNetSupport": {}},
        "enaSupport": {"EnaSupport": {"Value": shown["EnaSupport"]}},
        "enclaveOptions": {"EnclaveOptions": {"Enabled": False}},
    }
    if attribute not in values:
        raise invalid_value(attribute, "attribute", "Unknown attribute.")
    return {"InstanceId": instance.id, **values[attribute]}


def modify_metadata_options(
    tx: Tx, caller: Caller, params: ec2.ModifyInstanceMetadataOptionsRequest
) -> ec2.ModifyInstanceMetadataOptionsResult:
    """In force at the next request that the metadata service answers: there is no `pending` to wait through."""
    refuse_other_values(params, {"HttpProtocolIpv6": ("disabled",)})
    instance = require(tx, Instance, params["InstanceId"])
    if instance.state not in ("pending", "running", "stopping", "stopped"):
        raise ServiceError("IncorrectInstanceState", f"The instance '{instance.id}' is {instance.state}.")
    if not any(name not in ("InstanceId", "DryRun") for name in params):
        raise missing("HttpTokens")
    changed = replace(instance, metadata=metadata_options(instance.metadata, metadata_request(params)))
    if "HttpTokens" in params:
        refuse_tokenless(tx, caller.account, changed.metadata)
    if changed.metadata.tags == "enabled":
        check_metadata_keys(changed.tags)
    tx.save(changed)
    return {"InstanceId": instance.id, "InstanceMetadataOptions": shown_options(changed)}


def modify(tx: Tx, _caller: Caller, request: ec2.ModifyInstanceAttributeRequest) -> Nothing:
    params = as_structure(request)
    refuse_other_values(params, NEUTRAL)
    instance = require(tx, Instance, params["InstanceId"])
    # An instance whose end waits for room for its root volume may still give that volume up.
    over = ("terminated",) if "BlockDeviceMappings" in params else ("shutting-down", "terminated")
    if instance.state in over:
        raise ServiceError("IncorrectInstanceState", f"The instance '{instance.id}' is {instance.state}.")
    asked = [name for name in params if name not in ("InstanceId", "DryRun")]
    if not asked:
        raise missing("attribute")
    if len(asked) > 1:
        raise combination(f"Fields for multiple attribute types specified: {', '.join(asked)}")
    if asked[0] in _CHANGES:
        given: Params = params
        _CHANGES[asked[0]](tx, instance, given[asked[0]])
    return {}


def reset(tx: Tx, _caller: Caller, params: ec2.ResetInstanceAttributeRequest) -> Nothing:
    """The one attribute that a server of ours has a default of: kernels and RAM disks are for other kinds of images."""
    if params["Attribute"] != "sourceDestCheck":
        raise invalid_value(params["Attribute"], "attribute", "sourceDestCheck alone can be reset.")
    instance = require(tx, Instance, params["InstanceId"])
    if instance.state in ("shutting-down", "terminated"):
        raise ServiceError("IncorrectInstanceState", f"The instance '{instance.id}' is {instance.state}.")
    _source_dest_check(tx, instance, {"Value": True})
    return {}


def check_modify(tx: Tx, caller: Caller, params: ec2.ModifyInstanceAttributeRequest) -> Iterator[Check]:
    """A change of security groups takes the permission on each group, one of its volumes on each volume."""
    action, instance_id = "ec2:ModifyInstanceAttribute", params["InstanceId"]
    yield from on(action, "InstanceId")(tx, caller, as_structure(params))
    for group_id in params.get("Groups") or []:
        yield on_row(tx, caller, action, SecurityGroup, group_id)
    devices = {mapping.get("DeviceName") for mapping in params.get("BlockDeviceMappings") or []}
    for volume in tx.find(Volume, instance_id=instance_id) if devices else []:
        if volume.device in devices:
            yield on_row(tx, caller, action, Volume, volume.id)


def _termination(tx: Tx, instance: Instance, asked: ec2.AttributeBooleanValue) -> None:
    if asked.get("Value") and instance.spot_request_id:
        raise not_protected()
    tx.save(replace(instance, termination_protected=asked.get("Value", False)))


def _stop(tx: Tx, instance: Instance, asked: ec2.AttributeBooleanValue) -> None:
    tx.save(replace(instance, stop_protected=asked.get("Value", False)))


def _shutdown(tx: Tx, instance: Instance, asked: ec2.AttributeValue) -> None:
    behavior = shutdown_behavior(asked.get("Value", ""))
    request = tx.get(SpotRequest, id=instance.spot_request_id) if instance.spot_request_id else None
    if behavior == "stop" and request is not None and request.type == "one-time":
        raise not_stopped()
    tx.save(replace(instance, shutdown_behavior=behavior))


def _type(tx: Tx, instance: Instance, asked: ec2.AttributeValue) -> None:
    _refuse_unless_stopped(instance)
    if instance.spot_request_id:
        raise ServiceError("UnsupportedOperation", "The instance type of a Spot Instance cannot be changed.")
    kind = instance_type(asked.get("Value", ""))
    refuse_other_architecture(kind, require(tx, Image, instance.image_id))
    refuse_unless_offered(kind, instance.zone)
    interfaces = tx.find(NetworkInterface, instance_id=instance.id)
    refuse_beyond(kind, len(interfaces), max((len(one.addresses) for one in interfaces), default=0))
    tx.save(replace(instance, type=kind.name))


def _user_data(tx: Tx, instance: Instance, asked: ec2.SecureBlobAttributeValue) -> None:
    """The value is a blob: wire has decoded its base64 already."""
    _refuse_unless_stopped(instance)
    content = asked.get("Value", b"")
    tx.save(replace(instance, user_data=user_data(base64.b64encode(content).decode())))


def _groups(tx: Tx, instance: Instance, asked: list[str]) -> None:
    interface = _interface(tx, instance)
    tx.save(replace(interface, group_ids=groups_instead(tx, interface.vpc_id, asked)))


def _source_dest_check(tx: Tx, instance: Instance, asked: ec2.AttributeBooleanValue) -> None:
    tx.save(replace(_interface(tx, instance), source_dest_check=asked.get("Value", True)))


def _devices(tx: Tx, instance: Instance, asked: list[ec2.InstanceBlockDeviceMappingSpecification]) -> None:
    """Sets which volumes are deleted with the instance."""
    for mapping in asked:
        name = mapping.get("DeviceName")
        disk: ec2.EbsInstanceBlockDeviceSpecification = mapping.get("Ebs") or {}
        if not name:
            raise missing("DeviceName")
        volume = tx.get(Volume, instance_id=instance.id, device=name)
        if volume is None or disk.get("VolumeId", volume.id) != volume.id:
            raise ServiceError("InvalidInstanceAttributeValue", f"No device is currently mapped at {name}")
        ends = disk.get("DeleteOnTermination", volume.delete_on_termination)
        tx.save(replace(volume, delete_on_termination=ends))


def _interface(tx: Tx, instance: Instance) -> NetworkInterface:
    return only_one(instance.id, tx.find(NetworkInterface, instance_id=instance.id))


def _refuse_unless_stopped(instance: Instance) -> None:
    if instance.state != "stopped":
        raise ServiceError("IncorrectInstanceState", f"The instance '{instance.id}' is not in the 'stopped' state.")


_CHANGES: dict[str, Callable[[Tx, Instance, Any], None]] = {
    "DisableApiStop": _stop,
    "DisableApiTermination": _termination,
    "InstanceInitiatedShutdownBehavior": _shutdown,
    "InstanceType": _type,
    "UserData": _user_data,
    "Groups": _groups,
    "SourceDestCheck": _source_dest_check,
    "BlockDeviceMappings": _devices,
}


OPERATIONS = (
    shows("DescribeInstanceAttribute", describe, "InstanceId Attribute", "InstanceId"),
    writes(
        "ModifyInstanceAttribute",
        modify,
        "InstanceId Attribute Value DisableApiStop DisableApiTermination InstanceInitiatedShutdownBehavior "
        "InstanceType UserData Groups "
        "SourceDestCheck BlockDeviceMappings.DeviceName BlockDeviceMappings.Ebs.DeleteOnTermination "
        "BlockDeviceMappings.Ebs.VolumeId " + " ".join(NEUTRAL),
        check_modify,
    ),
    acts("ResetInstanceAttribute", reset, "InstanceId Attribute", "InstanceId"),
    acts(
        "ModifyInstanceMetadataOptions",
        modify_metadata_options,
        "InstanceId HttpTokens HttpPutResponseHopLimit HttpEndpoint InstanceMetadataTags HttpProtocolIpv6",
        "InstanceId",
    ),
)
