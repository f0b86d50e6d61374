"""Versions of launch templates, and how RunInstances takes one."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from skylift.cloud.domain.error import ServiceError
from skylift.cloud.domain.identity import Caller
from skylift.cloud.domain.instance import Instance
from skylift.cloud.domain.launch_request import LaunchRequest
from skylift.cloud.domain.launch_template import LaunchTemplate, LaunchTemplateVersion
from skylift.cloud.domain.network import NetworkInterface
from skylift.cloud.domain.spot import SpotRequest
from skylift.cloud.domain.volume import Volume
from skylift.cloud.services.api.client_token import remember, result_of
from skylift.cloud.services.api.ec2_operation import PAGES, acts_on, reads, shows
from skylift.cloud.services.api.filter import matching
from skylift.cloud.services.api.page import page
from skylift.cloud.services.api.refusal import combination, invalid, missing, refuse_other_values
from skylift.cloud.services.api.resource import require
from skylift.cloud.services.api.tag import tag_list
from skylift.cloud.services.ec2 import launch_template
from skylift.cloud.services.ec2.launch_parameter import TEMPLATE, TEMPLATE_DATA
from skylift.cloud.services.ec2.launch_request import template_request
from skylift.cloud.store.database import Tx

if TYPE_CHECKING:
    from aws_shapes import ec2

NEUTRAL: dict[str, tuple[object, ...]] = {"ResolveAlias": (False,)}

FILTERS = {
    "create-time": "CreateTime",
    "ebs-optimized": "LaunchTemplateData.EbsOptimized",
    "http-endpoint": "LaunchTemplateData.MetadataOptions.HttpEndpoint",
    "http-tokens": "LaunchTemplateData.MetadataOptions.HttpTokens",
    "iam-instance-profile": "LaunchTemplateData.IamInstanceProfile.Arn",
    "image-id": "LaunchTemplateData.ImageId",
    "instance-type": "LaunchTemplateData.InstanceType",
    "is-default-version": "DefaultVersion",
    "kernel-id": "LaunchTemplateData.KernelId",
    "ram-disk-id": "LaunchTemplateData.RamDiskId",
}


def create(
    tx: Tx, caller: Caller, params: ec2.CreateLaunchTemplateVersionRequest
) -> ec2.CreateLaunchTemplateVersionResult:
    made_before = result_of(tx, "CreateLaunchTemplateVersion", params)
    if made_before:
        template_id, _, number = made_before.partition("/")
        template = require(tx, LaunchTemplate, template_id)
        return {"LaunchTemplateVersion": view(template, launch_template.version_of(tx, template, number))}
    refuse_other_values(params, NEUTRAL)
    template = launch_template.template_of(tx, params)
    source = (
        launch_template.version_of(tx, template, params["SourceVersion"]).data if params.get("SourceVersion") else None
    )
    grown = replace(template, last_number=template.last_number + 1)
    version = launch_template.new_version(tx, caller, grown, grown.last_number, params, source)
    tx.save(grown)
    tx.add(version)
    remember(tx, "CreateLaunchTemplateVersion", params, f"{grown.id}/{version.number}")
    return {"LaunchTemplateVersion": view(grown, version)}


def describe(
    tx: Tx, _caller: Caller, params: ec2.DescribeLaunchTemplateVersionsRequest
) -> ec2.DescribeLaunchTemplateVersionsResult:
    """Newest first; without a template the latest or default versions of all of them."""
    refuse_other_values(params, NEUTRAL)
    wanted = params.get("Versions") or []
    if params.get("LaunchTemplateId") or params.get("LaunchTemplateName"):
        template = launch_template.template_of(tx, params)
        rows = [(template, version) for version in _chosen(tx, template, params, wanted)]
    elif not wanted or not {"$Latest", "$Default"}.issuperset(wanted):
        raise missing("LaunchTemplateId")
    else:
        templates = tx.find(LaunchTemplate)
        rows = [(template, version) for template in templates for version in _chosen(tx, template, params, wanted)]
    items = [view(template, version) for template, version in rows]
    found = matching(items, params.get("Filters"), FILTERS)
    shown = page(found, params, _key, launch_template.LIMITS)
    return {"LaunchTemplateVersions": shown.items, **shown.next}


def delete(
    tx: Tx, _caller: Caller, params: ec2.DeleteLaunchTemplateVersionsRequest
) -> ec2.DeleteLaunchTemplateVersionsResult:
    """Deletes each version by itself. Those that cannot be deleted are answered with their errors."""
    template = launch_template.template_of(tx, params)
    if not params["Versions"]:
        raise missing("LaunchTemplateVersion")
    done: list[ec2.DeleteLaunchTemplateVersionsResponseSuccessItem] = []
    undone: list[ec2.DeleteLaunchTemplateVersionsResponseErrorItem] = []
    for wanted in dict.fromkeys(params["Versions"]):
        if not launch_template.is_number(wanted):
            raise invalid(f"Invalid launch template version: '{wanted}'. Versions are deleted by their numbers.")
        named: ec2.DeleteLaunchTemplateVersionsResponseSuccessItem = {
            "LaunchTemplateId": template.id,
            "LaunchTemplateName": template.name,
            "VersionNumber": int(wanted),
        }
        version = tx.get(LaunchTemplateVersion, template_id=template.id, number=int(wanted))
        if version is None:
            why = ("launchTemplateVersionDoesNotExist", f"The launch template version {wanted} does not exist.")
        elif version.number == template.default_number:
            why = ("unexpectedError", "The default version of a launch template cannot be deleted.")
        else:
            tx.remove(version)
            done.append(named)
            continue
        undone.append({**named, "ResponseError": {"Code": why[0], "Message": why[1]}})
    return {"SuccessfullyDeletedLaunchTemplateVersions": done, "UnsuccessfullyDeletedLaunchTemplateVersions": undone}


def data_of_instance(
    tx: Tx, _caller: Caller, params: ec2.GetLaunchTemplateDataRequest
) -> ec2.GetLaunchTemplateDataResult:
    """GetLaunchTemplateData: what it takes to launch an instance like this one."""
    instance = require(tx, Instance, params["InstanceId"])
    interfaces = sorted(tx.find(NetworkInterface, instance_id=instance.id), key=lambda one: one.index)
    if not interfaces:
        raise ServiceError("IncorrectInstanceState", f"The instance '{instance.id}' is {instance.state}.")
    options = instance.metadata
    profile, tags = instance.profile_arn, tag_list(instance.tags)
    data: ec2.ResponseLaunchTemplateData = {
        "ImageId": instance.image_id,
        "InstanceType": instance.type,
        **({"KeyName": instance.key_name} if instance.key_name else {}),
        **({"UserData": instance.user_data} if instance.user_data else {}),
        **({"IamInstanceProfile": {"Arn": profile}} if profile else {}),
        **({"TagSpecifications": [{"ResourceType": "instance", "Tags": tags}]} if tags else {}),
        "NetworkInterfaces": [_interface_data(one, alone=len(interfaces) == 1) for one in interfaces],
        "BlockDeviceMappings": [_disk(volume) for volume in tx.find(Volume, instance_id=instance.id)],
        "Placement": {
            "AvailabilityZone": instance.zone,
            "Tenancy": instance.tenancy,
            **({"GroupName": instance.placement_group} if instance.placement_group else {}),
        },
        "Monitoring": {"Enabled": instance.detailed_monitoring},
        "EbsOptimized": False,
        "DisableApiTermination": instance.termination_protected,
        "DisableApiStop": instance.stop_protected,
        "InstanceInitiatedShutdownBehavior": instance.shutdown_behavior,
        **_market_data(tx, instance),
        "MetadataOptions": {
            "HttpTokens": options.tokens,
            "HttpEndpoint": options.endpoint,
            "HttpPutResponseHopLimit": options.hop_limit,
            "InstanceMetadataTags": options.tags,
        },
    }
    return {"LaunchTemplateData": data}


def _market_data(tx: Tx, instance: Instance) -> ec2.ResponseLaunchTemplateData:
    request = tx.get(SpotRequest, id=instance.spot_request_id) if instance.spot_request_id else None
    if request is None:
        return {}
    options: ec2.LaunchTemplateSpotMarketOptions = {
        "SpotInstanceType": request.type,
        "InstanceInterruptionBehavior": request.behavior,
        **({"MaxPrice": str(request.max_price)} if request.max_price else {}),
        **({"ValidUntil": request.valid_until} if request.valid_until else {}),
    }
    return {"InstanceMarketOptions": {"MarketType": "spot", "SpotOptions": options}}


def _disk(volume: Volume) -> ec2.LaunchTemplateBlockDeviceMapping:
    return {
        **({"DeviceName": volume.device} if volume.device else {}),
        "Ebs": {
            "VolumeSize": volume.size_gib,
            "VolumeType": volume.type,
            **({"SnapshotId": volume.snapshot_id} if volume.snapshot_id else {}),
            "DeleteOnTermination": volume.delete_on_termination,
            "Encrypted": False,
        },
    }


def _interface_data(
    interface: NetworkInterface, *, alone: bool
) -> ec2.LaunchTemplateInstanceNetworkInterfaceSpecification:
    return {
        "DeviceIndex": interface.index,
        "SubnetId": interface.subnet_id,
        "Groups": list(interface.group_ids),
        **({"AssociatePublicIpAddress": interface.wants_public_ip} if alone else {}),
        **({"SecondaryPrivateIpAddressCount": len(interface.secondary)} if interface.secondary else {}),
        "DeleteOnTermination": interface.delete_on_termination,
        "Description": interface.description,
    }


def with_template(tx: Tx, request: LaunchRequest) -> tuple[LaunchRequest, dict[str, str]]:
    """A launch with the data of the template that it names, and the tags that name the template."""
    asked = request.template
    if not asked:
        return request, {}
    template = launch_template.template_of(tx, asked)
    version = launch_template.version_of(tx, template, asked.get("Version") or "$Default")
    return request.over(template_request(launch_template.data_of(version))), {
        "aws:ec2launchtemplate:id": template.id,
        "aws:ec2launchtemplate:version": str(version.number),
    }


def view(template: LaunchTemplate, version: LaunchTemplateVersion) -> ec2.LaunchTemplateVersion:
    return {
        "LaunchTemplateId": template.id,
        "LaunchTemplateName": template.name,
        "VersionNumber": version.number,
        **({"VersionDescription": version.description} if version.description else {}),
        "CreateTime": version.created,
        "CreatedBy": version.created_by,
        "DefaultVersion": version.number == template.default_number,
        "LaunchTemplateData": launch_template.data_of(version),
    }


def _chosen(
    tx: Tx, template: LaunchTemplate, params: ec2.DescribeLaunchTemplateVersionsRequest, wanted: list[str]
) -> list[LaunchTemplateVersion]:
    least, most = params.get("MinVersion"), params.get("MaxVersion")
    if wanted and (least or most):
        raise combination("Versions cannot be combined with MinVersion and MaxVersion.")
    if wanted:
        found = {(version := launch_template.version_of(tx, template, one)).number: version for one in wanted}
        return list(found.values())
    first = _bound(least, 1)
    last = _bound(most, launch_template.latest(tx, template))
    versions = tx.find(LaunchTemplateVersion, template_id=template.id)
    return sorted((one for one in versions if first <= one.number <= last), key=lambda one: -one.number)


def _bound(given: str | None, default: int) -> int:
    if given is None:
        return default
    if not launch_template.is_number(given):
        raise invalid(f"Invalid launch template version: '{given}'. It has to be a number.")
    return int(given)


def _key(item: ec2.LaunchTemplateVersion) -> str:
    return f"{item['LaunchTemplateId']} {item['VersionNumber']:020}"


OPERATIONS = (
    acts_on(
        "CreateLaunchTemplateVersion",
        create,
        f"{TEMPLATE} VersionDescription SourceVersion ClientToken ResolveAlias {TEMPLATE_DATA}",
        launch_template.on_template,
    ),
    reads(
        "DescribeLaunchTemplateVersions",
        describe,
        f"{TEMPLATE} Versions MinVersion MaxVersion ResolveAlias IncludeManagedResources {PAGES}",
    ),
    acts_on("DeleteLaunchTemplateVersions", delete, f"{TEMPLATE} Versions", launch_template.on_template),
    shows("GetLaunchTemplateData", data_of_instance, "InstanceId", "InstanceId"),
)
