"""Launches Auto Scaling groups' instances from their templates."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from skylift.cloud.domain.error import ServiceError
from skylift.cloud.domain.identity import Caller, assumed_arn
from skylift.cloud.domain.instance import Instance
from skylift.cloud.domain.launch_request import InterfaceRequest, LaunchRequest, MarketRequest
from skylift.cloud.domain.launch_template import LaunchTemplate, LaunchTemplateVersion, TemplateSpec
from skylift.cloud.domain.scaling_group import GROUP_TAG, ScalingGroup, Wanted
from skylift.cloud.services.api.instance_type import instance_type
from skylift.cloud.services.api.public_parameter import image_id_for
from skylift.cloud.services.autoscaling.launch_configuration import required
from skylift.cloud.services.autoscaling.scaling_rules import invalid
from skylift.cloud.services.ec2.image import usable_image
from skylift.cloud.services.ec2.launch import launch as launch_instances
from skylift.cloud.services.ec2.launch import refuse_other_architecture
from skylift.cloud.services.ec2.launch_template import data_of, template_of, version_of
from skylift.cloud.services.ec2.launch_template_version import with_template
from skylift.cloud.store.database import Tx

ROLE = "AWSServiceRoleForAutoScaling"
SESSION = "AutoScaling"
DEFAULT_VERSION = "$Default"
"""The version of a template that a request names without one."""


def service(account: str, region: str) -> Caller:
    """Auto Scaling itself, in its service-linked role."""
    return Caller(
        kind="role",
        account=account,
        region=region,
        arn=assumed_arn(account, ROLE, SESSION),
        user_id=SESSION,
        access_key_id="",
        source_ip="autoscaling.amazonaws.com",
        request_id="",
        role=ROLE,
    )


def by(account: str, region: str) -> Callable[[Tx, ScalingGroup, Wanted], Instance]:
    """`launch` as the service itself does it."""
    return lambda tx, group, wanted: launch(tx, service(account, region), group, wanted)


def launch(tx: Tx, caller: Caller, group: ScalingGroup, wanted: Wanted) -> Instance:
    """An instance on its way, with the group's tags. Raises RunInstances' errors; the transaction is then not to be
    committed."""
    (instance,) = launch_instances(tx, caller, request(tx, wanted))
    tags = {tag.key: tag.value for tag in group.tags if tag.propagate}
    tagged = replace(instance, tags={**instance.tags, **tags, GROUP_TAG: group.name})
    tx.save(tagged)
    return tagged


def request(tx: Tx, wanted: Wanted) -> LaunchRequest:
    """The launch of one instance. The subnet stands in the template's network interface, where that has one."""
    if wanted.configuration:
        return required(tx, wanted.configuration).launch_in(wanted.subnet_id)
    version = version_meant(tx, wanted.template)
    in_interface = bool(data_of(version).get("NetworkInterfaces"))
    return LaunchRequest(
        template={"LaunchTemplateId": version.template_id, "Version": str(version.number)},
        type=wanted.type or None,
        image=wanted.image_id or None,
        market=MarketRequest("spot", max_price=wanted.max_price or None) if wanted.market == "spot" else None,
        interfaces=(InterfaceRequest(index=0, subnet_id=wanted.subnet_id),) if in_interface else None,
        subnet_id=None if in_interface else wanted.subnet_id,
    )


def named(tx: Tx, spec: TemplateSpec) -> TemplateSpec:
    """A template as groups describe it, with the version that was asked for, if one was."""
    try:
        template = template_of(tx, spec)
    except ServiceError as error:
        raise _no_template(error) from error
    found: TemplateSpec = {"LaunchTemplateId": template.id, "LaunchTemplateName": template.name}
    return {**found, "Version": spec["Version"]} if spec.get("Version") else found


def resolved(tx: Tx, spec: TemplateSpec) -> TemplateSpec:
    """A template as instances describe it, with the number of the version that `spec` means now.

    Raises EC2's errors when it is gone.
    """
    return {**spec, "Version": str(version_meant(tx, spec).number)}


def check_template(tx: Tx, caller: Caller, spec: TemplateSpec, kind: str = "", image_id: str = "") -> None:
    """Raises ValidationError where nothing could be launched from the template as it is."""
    try:
        version_meant(tx, spec)
        by_id: TemplateSpec = {
            "LaunchTemplateId": spec["LaunchTemplateId"],
            "Version": spec.get("Version", DEFAULT_VERSION),
        }
        whole, _ = with_template(tx, LaunchRequest(template=by_id))
        kind = kind or whole.type or ""
        # The template's image may be a parameter, which its launch takes permission for; an override's is an id.
        image_id = image_id or image_id_for(tx, caller, whole.image or "")
        if not image_id or not kind:
            raise invalid(f"The launch template has no {'InstanceType' if image_id else 'ImageId'}.")
        image = usable_image(tx, image_id)
        refuse_other_architecture(instance_type(kind), image)
    except ServiceError as error:
        raise _no_template(error) from error


def version_meant(tx: Tx, spec: TemplateSpec) -> LaunchTemplateVersion:
    """The version that a group's specification means now. Raises EC2's errors when it is gone."""
    template: LaunchTemplate = template_of(tx, {"LaunchTemplateId": spec["LaunchTemplateId"]})
    return version_of(tx, template, spec.get("Version", DEFAULT_VERSION))


def _no_template(error: ServiceError) -> ServiceError:
    return invalid(f"You must use a valid fully-formed launch template. {error.message}")
