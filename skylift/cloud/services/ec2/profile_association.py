"""Instance profiles of instances: given, replaced and taken away while these run.

An instance has at most one, so an association is kept in the instance's row. What changes is in force at the next
request that the metadata service answers.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, TypedDict

from skylift.cloud.domain.error import ServiceError
from skylift.cloud.domain.identity import Caller, InstanceProfile, Role
from skylift.cloud.domain.instance import Instance
from skylift.cloud.services.api.check import on_row
from skylift.cloud.services.api.ec2_operation import PAGES, reads, writes
from skylift.cloud.services.api.filter import matching
from skylift.cloud.services.api.operation import Check
from skylift.cloud.services.api.page import Limits, page
from skylift.cloud.services.api.refusal import missing
from skylift.cloud.services.api.resource import new_id, require, well_formed
from skylift.cloud.services.ec2.launch_request import profile_name
from skylift.cloud.services.ec2.profile import find_profile, wanted_profile
from skylift.cloud.store.database import Tx

if TYPE_CHECKING:
    from aws_shapes import ec2

PREFIX = "iip-assoc"
LIMITS = Limits(not_with=("AssociationIds", "associationIds"))
LIVING = ("pending", "running", "stopping", "stopped")


def associate(
    tx: Tx, _caller: Caller, params: ec2.AssociateIamInstanceProfileRequest
) -> ec2.AssociateIamInstanceProfileResult:
    instance = require(tx, Instance, params["InstanceId"])
    if instance.state not in LIVING:
        raise ServiceError("IncorrectInstanceState", f"The instance '{instance.id}' is {instance.state}.")
    if instance.association_id is not None:
        raise ServiceError("IncorrectState", f"There is an existing association for instance {instance.id}")
    return {**_answer(_given(tx, instance, _profile(tx, params)), "associating")}


def replace_profile(
    tx: Tx, _caller: Caller, params: ec2.ReplaceIamInstanceProfileAssociationRequest
) -> ec2.ReplaceIamInstanceProfileAssociationResult:
    """Makes a new association, with another id."""
    instance = _associated(tx, params["AssociationId"])
    return {**_answer(_given(tx, instance, _profile(tx, params)), "associating")}


def disassociate(
    tx: Tx, _caller: Caller, params: ec2.DisassociateIamInstanceProfileRequest
) -> ec2.DisassociateIamInstanceProfileResult:
    instance = _associated(tx, params["AssociationId"])
    tx.save(replace(instance, profile_arn=None, profile_id=None, association_id=None))
    return {**_answer(instance, "disassociating")}


def describe(
    tx: Tx, _caller: Caller, params: ec2.DescribeIamInstanceProfileAssociationsRequest
) -> ec2.DescribeIamInstanceProfileAssociationsResult:
    wanted = params.get("AssociationIds")
    rows = [_associated(tx, one) for one in wanted] if wanted else tx.find(Instance)
    items = [_view(row, "associated") for row in rows if row.association_id is not None and row.state in LIVING]
    found = matching(items, params.get("Filters"), {"instance-id": "InstanceId", "state": "State"})
    shown = page(found, params, lambda item: str(item["AssociationId"]), LIMITS)
    return {"IamInstanceProfileAssociations": shown.items, **shown.next}


def check_associate(tx: Tx, caller: Caller, params: ec2.AssociateIamInstanceProfileRequest) -> Iterator[Check]:
    yield from _checks(tx, caller, "AssociateIamInstanceProfile", params.get("InstanceId"), params)


def check_replace(tx: Tx, caller: Caller, params: ec2.ReplaceIamInstanceProfileAssociationRequest) -> Iterator[Check]:
    instance = tx.get(Instance, association_id=params["AssociationId"])
    yield from _checks(tx, caller, "ReplaceIamInstanceProfileAssociation", instance.id if instance else "*", params)


def check_disassociate(tx: Tx, caller: Caller, params: ec2.DisassociateIamInstanceProfileRequest) -> Iterable[Check]:
    instance = tx.get(Instance, association_id=params["AssociationId"])
    return [on_row(tx, caller, "ec2:DisassociateIamInstanceProfile", Instance, instance.id if instance else "*")]


def check_pass(tx: Tx, profile: InstanceProfile | None, instance_arn: str) -> Iterator[Check]:
    """May the caller hand the role in this profile to EC2, for this instance?"""
    role = tx.get(Role, name=profile.role) if profile and profile.role else None
    if role is not None:
        context = {"iam:PassedToService": "ec2.amazonaws.com", "iam:AssociatedResourceArn": instance_arn}
        yield Check("iam:PassRole", role.arn, context)


def _checks(
    tx: Tx,
    caller: Caller,
    name: str,
    instance_id: str,
    params: ec2.AssociateIamInstanceProfileRequest | ec2.ReplaceIamInstanceProfileAssociationRequest,
) -> Iterator[Check]:
    """Giving an instance a profile passes the profile's role to EC2, which takes iam:PassRole."""
    profile = find_profile(tx, profile_name(params.get("IamInstanceProfile")))
    more = {"ec2:NewInstanceProfile": profile.arn} if profile else {}
    on_instance = on_row(tx, caller, f"ec2:{name}", Instance, instance_id, more=more)
    yield on_instance
    yield from check_pass(tx, profile, on_instance.resource)


def _profile(
    tx: Tx, params: ec2.AssociateIamInstanceProfileRequest | ec2.ReplaceIamInstanceProfileAssociationRequest
) -> InstanceProfile:
    found = wanted_profile(tx, profile_name(params.get("IamInstanceProfile")))
    if found is None:
        raise missing("IamInstanceProfile")
    return found


def _given(tx: Tx, instance: Instance, profile: InstanceProfile) -> Instance:
    changed = replace(instance, profile_arn=profile.arn, profile_id=profile.id, association_id=new_id(PREFIX))
    tx.save(changed)
    return changed


def _associated(tx: Tx, association_id: str) -> Instance:
    if not well_formed(PREFIX, association_id):
        raise ServiceError(
            "InvalidAssociationID.Malformed", f'Invalid id: "{association_id}" (expecting "{PREFIX}-...")'
        )
    found = tx.get(Instance, association_id=association_id)
    if found is None or found.state not in LIVING:
        raise ServiceError(
            "InvalidAssociationID.NotFound", f"An invalid association-id of '{association_id}' was given"
        )
    return found


class _Answer(TypedDict):
    IamInstanceProfileAssociation: ec2.IamInstanceProfileAssociation


def _answer(instance: Instance, state: str) -> _Answer:
    return {"IamInstanceProfileAssociation": _view(instance, state)}


def _view(instance: Instance, state: str) -> ec2.IamInstanceProfileAssociation:
    profile: ec2.IamInstanceProfile = {}
    if instance.profile_arn and instance.profile_id:
        profile = {"Arn": instance.profile_arn, "Id": instance.profile_id}
    return {
        **({"AssociationId": instance.association_id} if instance.association_id else {}),
        "InstanceId": instance.id,
        "IamInstanceProfile": profile,
        "State": state,
    }


OPERATIONS = (
    writes(
        "AssociateIamInstanceProfile",
        associate,
        "InstanceId IamInstanceProfile.Arn IamInstanceProfile.Name",
        check_associate,
    ),
    writes(
        "ReplaceIamInstanceProfileAssociation",
        replace_profile,
        "AssociationId IamInstanceProfile.Arn IamInstanceProfile.Name",
        check_replace,
    ),
    writes("DisassociateIamInstanceProfile", disassociate, "AssociationId", check_disassociate),
    reads("DescribeIamInstanceProfileAssociations", describe, f"AssociationIds {PAGES}"),
)
