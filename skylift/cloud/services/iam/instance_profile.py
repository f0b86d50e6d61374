"""Instance profiles: how a server gets its role."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING

from skylift.cloud.domain.identity import Caller, InstanceProfile, Role
from skylift.cloud.services.api.iam_rules import (
    checked_name,
    checked_path,
    checked_prefix,
    checked_tags,
    conflict,
    exists,
    new_id,
    no_such,
    over_quota,
    page,
    page_of,
    request_tags,
    resource_tags,
    tag_list,
)
from skylift.cloud.services.api.operation import Check, Checks, Nothing, Params
from skylift.cloud.services.iam import role as roles
from skylift.cloud.services.iam.operation import PAGES, OnNoun, checks_to_make, reads, writes
from skylift.cloud.services.iam.role import ON_ROLE
from skylift.cloud.services.iam.tagging import Tags
from skylift.cloud.store.database import Tx
from skylift.cloud.store.identity import count, name_taken, under_path

if TYPE_CHECKING:
    from aws_shapes import iam

MAX_PROFILES = 1000


def create(tx: Tx, caller: Caller, params: iam.CreateInstanceProfileRequest) -> iam.CreateInstanceProfileResponse:
    name, path = checked_name(params, "InstanceProfileName", 128), checked_path(params)
    if name_taken(tx, InstanceProfile, name):
        raise exists(f"Instance Profile {name}")
    if count(tx, InstanceProfile) >= MAX_PROFILES:
        raise over_quota("InstanceProfilesPerAccount", MAX_PROFILES)
    profile = InstanceProfile(
        name=name,
        id=new_id("AIPA"),
        arn=arn_of(caller, name, path),
        path=path,
        created=tx.now,
        tags=checked_tags(params),
    )
    tx.add(profile)
    return {"InstanceProfile": described(tx, profile)}


def get(tx: Tx, _caller: Caller, params: iam.GetInstanceProfileRequest) -> iam.GetInstanceProfileResponse:
    return {"InstanceProfile": described(tx, existing(tx, params["InstanceProfileName"]))}


def list_all(tx: Tx, _caller: Caller, params: iam.ListInstanceProfilesRequest) -> iam.ListInstanceProfilesResponse:
    prefix = checked_prefix(params)
    profiles, more = page(
        params,
        lambda after, limit: under_path(tx, InstanceProfile, prefix, after, limit),
        lambda profile: profile.name,
    )
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


def existing(tx: Tx, name: str) -> InstanceProfile:
    profile = tx.get(InstanceProfile, name=name)
    if profile is None:
        raise no_such(f"instance profile with name {name}")
    return profile


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


def arn_of(caller: Caller, name: str, path: str = "/") -> str:
    return f"arn:aws:iam::{caller.account}:instance-profile{path}{name}"


def check(action: str) -> Checks:
    """The caller must be allowed `action` on the profile that `InstanceProfileName` names."""

    def checks(tx: Tx, caller: Caller, params: Params) -> Iterable[Check]:
        name = params["InstanceProfileName"]
        profile = tx.get(InstanceProfile, name=name)
        context = {**request_tags(params), **(resource_tags(profile.tags) if profile else {})}
        return [Check(f"iam:{action}", profile.arn if profile else arn_of(caller, name), context)]

    return checks


def check_create(_tx: Tx, caller: Caller, params: iam.CreateInstanceProfileRequest) -> Iterable[Check]:
    return checks_to_make(
        "InstanceProfile", arn_of(caller, params["InstanceProfileName"], params.get("Path", "/")), params
    )


def check_list(_tx: Tx, caller: Caller, params: iam.ListInstanceProfilesRequest) -> Iterable[Check]:
    return [Check("iam:ListInstanceProfiles", arn_of(caller, "", params.get("PathPrefix", "/")))]


def check_add_role(tx: Tx, caller: Caller, params: iam.AddRoleToInstanceProfileRequest) -> Iterable[Check]:
    """Adding a role to a profile passes it to EC2, which takes iam:PassRole."""
    yield from check("AddRoleToInstanceProfile")(tx, caller, params)
    passed = roles.resource(tx, caller, params["RoleName"])
    yield Check("iam:PassRole", passed, {"iam:PassedToService": "ec2.amazonaws.com"})


ON_PROFILE = OnNoun("InstanceProfileName", check)
TAGS = Tags("TagsPerInstanceProfile", "InstanceProfileName", existing, existing)

OPERATIONS = (
    writes(
        "CreateInstanceProfile",
        create,
        "InstanceProfileName Path Tags",
        check_create,
    ),
    reads(
        "ListInstanceProfiles",
        list_all,
        f"PathPrefix {PAGES}",
        check_list,
    ),
    ON_ROLE.reads("ListInstanceProfilesForRole", list_for_role, PAGES),
    ON_PROFILE.reads("GetInstanceProfile", get),
    ON_PROFILE.writes("DeleteInstanceProfile", delete),
    writes(
        "AddRoleToInstanceProfile",
        add_role,
        "InstanceProfileName RoleName",
        check_add_role,
    ),
    ON_PROFILE.writes("RemoveRoleFromInstanceProfile", remove_role, "RoleName"),
    ON_PROFILE.writes("TagInstanceProfile", TAGS.tag, "Tags"),
    ON_PROFILE.writes("UntagInstanceProfile", TAGS.untag, "TagKeys"),
    ON_PROFILE.reads("ListInstanceProfileTags", TAGS.list_all, PAGES),
)
