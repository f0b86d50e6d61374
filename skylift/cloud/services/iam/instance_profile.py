"""Instance profiles: how a server gets its role."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING

from skylift.cloud.domain.identity import Caller, InstanceProfile, Role
from skylift.cloud.services.api.iam_rules import checked_tags, conflict, new_id, no_such, over_quota, page_of, tag_list
from skylift.cloud.services.api.operation import Check, Nothing
from skylift.cloud.services.iam import role as roles
from skylift.cloud.services.iam.named import Named
from skylift.cloud.services.iam.operation import PAGES, OnNoun, reads, writes
from skylift.cloud.services.iam.role import ON_ROLE
from skylift.cloud.services.iam.tagging import Tags
from skylift.cloud.store.database import Tx

if TYPE_CHECKING:
    from aws_shapes import iam

MAX_PROFILES = 1000

PROFILES = Named(InstanceProfile, "instance-profile", "Instance Profile", longest=128, most=MAX_PROFILES)
existing = PROFILES.existing


def create(tx: Tx, caller: Caller, params: iam.CreateInstanceProfileRequest) -> iam.CreateInstanceProfileResponse:
    name, path = PROFILES.name_and_path(params)
    PROFILES.make_room(tx, name)
    profile = InstanceProfile(
        name=name,
        id=new_id("AIPA"),
        arn=PROFILES.arn_of(caller, name, path),
        path=path,
        created=tx.now,
        tags=checked_tags(params),
    )
    tx.add(profile)
    return {"InstanceProfile": described(tx, profile)}


def get(tx: Tx, _caller: Caller, params: iam.GetInstanceProfileRequest) -> iam.GetInstanceProfileResponse:
    return {"InstanceProfile": described(tx, existing(tx, params["InstanceProfileName"]))}


def list_all(tx: Tx, _caller: Caller, params: iam.ListInstanceProfilesRequest) -> iam.ListInstanceProfilesResponse:
    profiles, more = PROFILES.page(tx, params)
    return {"InstanceProfiles": [summary(tx, profile) for profile in profiles], **more}


def list_for_role(
    tx: Tx, _caller: Caller, params: iam.ListInstanceProfilesForRoleRequest
) -> iam.ListInstanceProfilesForRoleResponse:
    role = roles.existing(tx, params["RoleName"])
    profiles, more = page_of(params, tx.find(InstanceProfile, role=role.name), lambda profile: profile.name)
    return {"InstanceProfiles": [summary(tx, profile) for profile in profiles], **more}


def delete(tx: Tx, _caller: Caller, params: iam.DeleteInstanceProfileRequest) -> Nothing:
    profile = existing(tx, params["InstanceProfileName"])
    if profile.role is not None:
        raise conflict("remove roles from instance profile")
    tx.remove(profile)
    return {}


def add_role(tx: Tx, _caller: Caller, params: iam.AddRoleToInstanceProfileRequest) -> Nothing:
    profile = existing(tx, params["InstanceProfileName"])
    role = roles.changeable(tx, params["RoleName"])
    if profile.role is not None:
        raise over_quota("InstanceSessionsPerInstanceProfile", 1)
    tx.save(replace(profile, role=role.name))
    return {}


def remove_role(tx: Tx, _caller: Caller, params: iam.RemoveRoleFromInstanceProfileRequest) -> Nothing:
    profile = existing(tx, params["InstanceProfileName"])
    role = roles.existing(tx, params["RoleName"])
    if profile.role != role.name:
        raise no_such(f"role with name {role.name} in the instance profile with name {profile.name}")
    tx.save(replace(profile, role=None))
    return {}


def summary(tx: Tx, profile: InstanceProfile) -> iam.InstanceProfile:
    """A profile as lists carry it: without its tags, as on AWS."""
    role = tx.get(Role, name=profile.role) if profile.role else None
    return {
        "Path": profile.path,
        "InstanceProfileName": profile.name,
        "InstanceProfileId": profile.id,
        "Arn": profile.arn,
        "CreateDate": profile.created,
        "Roles": [roles.summary(role)] if role else [],
    }


def described(tx: Tx, profile: InstanceProfile) -> iam.InstanceProfile:
    answer = summary(tx, profile)
    return {**answer, "Tags": tag_list(profile.tags)} if profile.tags else answer


def check_add_role(tx: Tx, caller: Caller, params: iam.AddRoleToInstanceProfileRequest) -> Iterable[Check]:
    """Adding a role to a profile passes it to EC2, which takes iam:PassRole."""
    yield from PROFILES.check("AddRoleToInstanceProfile")(tx, caller, params)
    passed = roles.resource(tx, caller, params["RoleName"])
    yield Check("iam:PassRole", passed, {"iam:PassedToService": "ec2.amazonaws.com"})


ON_PROFILE = OnNoun("InstanceProfileName", PROFILES.check)
TAGS = Tags("TagsPerInstanceProfile", "InstanceProfileName", existing, existing)

OPERATIONS = (
    writes("CreateInstanceProfile", create, "InstanceProfileName Path Tags", PROFILES.check_create),
    reads("ListInstanceProfiles", list_all, f"PathPrefix {PAGES}", PROFILES.check_list),
    ON_ROLE.reads("ListInstanceProfilesForRole", list_for_role, PAGES),
    ON_PROFILE.reads("GetInstanceProfile", get),
    ON_PROFILE.writes("DeleteInstanceProfile", delete),
    writes("AddRoleToInstanceProfile", add_role, "InstanceProfileName RoleName", check_add_role),
    ON_PROFILE.writes("RemoveRoleFromInstanceProfile", remove_role, "RoleName"),
    ON_PROFILE.writes("TagInstanceProfile", TAGS.tag, "Tags"),
    ON_PROFILE.writes("UntagInstanceProfile", TAGS.untag, "TagKeys"),
    ON_PROFILE.reads("ListInstanceProfileTags", TAGS.list_all, PAGES),
)
