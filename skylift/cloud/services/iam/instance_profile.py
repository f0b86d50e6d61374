"""Instance profiles: how a server gets its role."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

from skylift.cloud.identity import Caller, InstanceProfile, Role
from skylift.cloud.services.api.iam_rules import (
    checked_name,
    checked_path,
    checked_prefix,
    checked_tags,
    conflict,
    exists,
    merged_tags,
    new_id,
    no_such,
    over_quota,
    page,
    page_of,
    request_tags,
    resource_tags,
    tag_list,
    without_tags,
)
from skylift.cloud.services.api.operation import Check, Handler, Operation
from skylift.cloud.services.iam import role as roles
from skylift.cloud.services.iam.operation import PAGES, reads, writes
from skylift.cloud.services.iam.role import on_role
from skylift.cloud.store.database import Tx
from skylift.cloud.store.identity import count, name_taken, under_path

MAX_PROFILES = 1000


def create(tx: Tx, caller: Caller, params: Any) -> dict[str, Any]:
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


def get(tx: Tx, _caller: Caller, params: Any) -> dict[str, Any]:
    return {"InstanceProfile": described(tx, existing(tx, params["InstanceProfileName"]))}


def list_all(tx: Tx, _caller: Caller, params: Any) -> dict[str, Any]:
    prefix = checked_prefix(params)
    profiles, more = page(
        params,
        lambda after, limit: under_path(tx, InstanceProfile, prefix, after, limit),
        lambda profile: profile.name,
    )
    return {"InstanceProfiles": [summary(tx, profile) for profile in profiles], **more}


def list_for_role(tx: Tx, _caller: Caller, params: Any) -> dict[str, Any]:
    role = roles.existing(tx, params["RoleName"])
    profiles, more = page_of(params, tx.find(InstanceProfile, role=role.name), lambda profile: profile.name)
    return {"InstanceProfiles": [summary(tx, profile) for profile in profiles], **more}


def delete(tx: Tx, _caller: Caller, params: Any) -> dict[str, Any]:
    profile = existing(tx, params["InstanceProfileName"])
    if profile.role is not None:
        raise conflict("remove roles from instance profile")
    tx.remove(profile)
    return {}


def add_role(tx: Tx, _caller: Caller, params: Any) -> dict[str, Any]:
    profile = existing(tx, params["InstanceProfileName"])
    role = roles.changeable(tx, params["RoleName"])
    if profile.role is not None:
        raise over_quota("InstanceSessionsPerInstanceProfile", 1)
    tx.save(replace(profile, role=role.name))
    return {}


def remove_role(tx: Tx, _caller: Caller, params: Any) -> dict[str, Any]:
    profile = existing(tx, params["InstanceProfileName"])
    role = roles.existing(tx, params["RoleName"])
    if profile.role != role.name:
        raise no_such(f"role with name {role.name} in the instance profile with name {profile.name}")
    tx.save(replace(profile, role=None))
    return {}


def tag(tx: Tx, _caller: Caller, params: Any) -> dict[str, Any]:
    profile = existing(tx, params["InstanceProfileName"])
    tx.save(replace(profile, tags=merged_tags(profile.tags, checked_tags(params), "TagsPerInstanceProfile")))
    return {}


def untag(tx: Tx, _caller: Caller, params: Any) -> dict[str, Any]:
    profile = existing(tx, params["InstanceProfileName"])
    tx.save(replace(profile, tags=without_tags(profile.tags, params["TagKeys"])))
    return {}


def list_tags(tx: Tx, _caller: Caller, params: Any) -> dict[str, Any]:
    profile = existing(tx, params["InstanceProfileName"])
    tags, more = page_of(params, tag_list(profile.tags), lambda pair: pair["Key"])
    return {"Tags": tags, **more}


def existing(tx: Tx, name: str) -> InstanceProfile:
    profile = tx.get(InstanceProfile, name=name)
    if profile is None:
        raise no_such(f"instance profile with name {name}")
    return profile


def summary(tx: Tx, profile: InstanceProfile) -> dict[str, Any]:
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


def described(tx: Tx, profile: InstanceProfile) -> dict[str, Any]:
    answer = summary(tx, profile)
    return {**answer, "Tags": tag_list(profile.tags)} if profile.tags else answer


def arn_of(caller: Caller, name: str, path: str = "/") -> str:
    return f"arn:aws:iam::{caller.account}:instance-profile{path}{name}"


def check(action: str) -> Callable[[Tx, Caller, Any], Iterable[Check]]:
    """The caller must be allowed `action` on the profile that `InstanceProfileName` names."""

    def checks(tx: Tx, caller: Caller, params: Any) -> Iterable[Check]:
        name = params["InstanceProfileName"]
        profile = tx.get(InstanceProfile, name=name)
        context = {**request_tags(params), **(resource_tags(profile.tags) if profile else {})}
        return [Check(f"iam:{action}", profile.arn if profile else arn_of(caller, name), context)]

    return checks


def check_create(_tx: Tx, caller: Caller, params: Any) -> Iterable[Check]:
    arn = arn_of(caller, params["InstanceProfileName"], params.get("Path", "/"))
    actions = ["iam:CreateInstanceProfile", *(["iam:TagInstanceProfile"] if params.get("Tags") else [])]
    return [Check(action, arn, request_tags(params)) for action in actions]


def check_list(_tx: Tx, caller: Caller, params: Any) -> Iterable[Check]:
    return [Check("iam:ListInstanceProfiles", arn_of(caller, "", params.get("PathPrefix", "/")))]


def check_add_role(tx: Tx, caller: Caller, params: Any) -> Iterable[Check]:
    """Whoever puts a role into a profile hands it to EC2."""
    yield from check("AddRoleToInstanceProfile")(tx, caller, params)
    passed = roles.resource(tx, caller, params["RoleName"])
    yield Check("iam:PassRole", passed, {"iam:PassedToService": "ec2.amazonaws.com"})


def _on_profile(name: str, handler: Handler, takes: str = "", *, writes: bool) -> Operation:
    honoured = frozenset(["InstanceProfileName", *takes.split()])
    return Operation("iam", name, handler, honoured, check(name), writes)


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
    on_role("ListInstanceProfilesForRole", list_for_role, PAGES, writes=False),
    _on_profile("GetInstanceProfile", get, writes=False),
    _on_profile("DeleteInstanceProfile", delete, writes=True),
    writes(
        "AddRoleToInstanceProfile",
        add_role,
        "InstanceProfileName RoleName",
        check_add_role,
    ),
    _on_profile("RemoveRoleFromInstanceProfile", remove_role, "RoleName", writes=True),
    _on_profile("TagInstanceProfile", tag, "Tags", writes=True),
    _on_profile("UntagInstanceProfile", untag, "TagKeys", writes=True),
    _on_profile("ListInstanceProfileTags", list_tags, PAGES, writes=False),
)
