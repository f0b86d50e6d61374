"""Every operation of IAM and STS that this cloud carries out."""

from __future__ import annotations

from skylift.cloud.services import instance_profile, policy, role, role_policy, sts
from skylift.cloud.services.operation import Handler, Operation
from skylift.cloud.services.role import Checks

PAGES = "Marker MaxItems"


def _reads(service: str, name: str, handler: Handler, takes: str, checks: Checks) -> Operation:
    return Operation(service, name, handler, frozenset(takes.split()), checks, writes=False)


def _writes(service: str, name: str, handler: Handler, takes: str, checks: Checks) -> Operation:
    return Operation(service, name, handler, frozenset(takes.split()), checks, writes=True)


def _on_role(name: str, handler: Handler, takes: str = "", *, writes: bool) -> Operation:
    return Operation("iam", name, handler, frozenset(["RoleName", *takes.split()]), role.check(name), writes)


def _on_profile(name: str, handler: Handler, takes: str = "", *, writes: bool) -> Operation:
    honoured = frozenset(["InstanceProfileName", *takes.split()])
    return Operation("iam", name, handler, honoured, instance_profile.check(name), writes)


def _on_policy(name: str, handler: Handler, takes: str = "", *, writes: bool) -> Operation:
    return Operation("iam", name, handler, frozenset(["PolicyArn", *takes.split()]), policy.check(name), writes)


ROLES = (
    _writes(
        "iam",
        "CreateRole",
        role.create,
        "Path RoleName AssumeRolePolicyDocument Description MaxSessionDuration PermissionsBoundary Tags",
        role.check_create,
    ),
    _reads("iam", "ListRoles", role.list_all, f"PathPrefix {PAGES}", role.check_list),
    _on_role("GetRole", role.get, writes=False),
    _on_role("DeleteRole", role.delete, writes=True),
    _on_role("UpdateRole", role.update, "Description MaxSessionDuration", writes=True),
    _on_role("UpdateAssumeRolePolicy", role.update_trust, "PolicyDocument", writes=True),
    _on_role("TagRole", role.tag, "Tags", writes=True),
    _on_role("UntagRole", role.untag, "TagKeys", writes=True),
    _on_role("ListRoleTags", role.list_tags, PAGES, writes=False),
    _on_role("PutRolePolicy", role_policy.put, "PolicyName PolicyDocument", writes=True),
    _on_role("GetRolePolicy", role_policy.get, "PolicyName", writes=False),
    _on_role("ListRolePolicies", role_policy.list_all, PAGES, writes=False),
    _on_role("DeleteRolePolicy", role_policy.delete, "PolicyName", writes=True),
    _on_role("AttachRolePolicy", role_policy.attach, "PolicyArn", writes=True),
    _on_role("DetachRolePolicy", role_policy.detach, "PolicyArn", writes=True),
    _on_role("ListAttachedRolePolicies", role_policy.list_attached, f"PathPrefix {PAGES}", writes=False),
    _on_role("PutRolePermissionsBoundary", role_policy.put_boundary, "PermissionsBoundary", writes=True),
    _on_role("DeleteRolePermissionsBoundary", role_policy.delete_boundary, writes=True),
)

INSTANCE_PROFILES = (
    _writes(
        "iam",
        "CreateInstanceProfile",
        instance_profile.create,
        "InstanceProfileName Path Tags",
        instance_profile.check_create,
    ),
    _reads(
        "iam",
        "ListInstanceProfiles",
        instance_profile.list_all,
        f"PathPrefix {PAGES}",
        instance_profile.check_list,
    ),
    _on_role("ListInstanceProfilesForRole", instance_profile.list_for_role, PAGES, writes=False),
    _on_profile("GetInstanceProfile", instance_profile.get, writes=False),
    _on_profile("DeleteInstanceProfile", instance_profile.delete, writes=True),
    _writes(
        "iam",
        "AddRoleToInstanceProfile",
        instance_profile.add_role,
        "InstanceProfileName RoleName",
        instance_profile.check_add_role,
    ),
    _on_profile("RemoveRoleFromInstanceProfile", instance_profile.remove_role, "RoleName", writes=True),
    _on_profile("TagInstanceProfile", instance_profile.tag, "Tags", writes=True),
    _on_profile("UntagInstanceProfile", instance_profile.untag, "TagKeys", writes=True),
    _on_profile("ListInstanceProfileTags", instance_profile.list_tags, PAGES, writes=False),
)

POLICIES = (
    _writes(
        "iam", "CreatePolicy", policy.create, "PolicyName Path PolicyDocument Description Tags", policy.check_create
    ),
    _reads(
        "iam",
        "ListPolicies",
        policy.list_all,
        f"Scope OnlyAttached PathPrefix PolicyUsageFilter {PAGES}",
        policy.check_list,
    ),
    _on_policy("GetPolicy", policy.get, writes=False),
    _on_policy("DeletePolicy", policy.delete, writes=True),
    _on_policy("CreatePolicyVersion", policy.create_version, "PolicyDocument SetAsDefault", writes=True),
    _on_policy("GetPolicyVersion", policy.get_version, "VersionId", writes=False),
    _on_policy("ListPolicyVersions", policy.list_versions, PAGES, writes=False),
    _on_policy("SetDefaultPolicyVersion", policy.set_default_version, "VersionId", writes=True),
    _on_policy("DeletePolicyVersion", policy.delete_version, "VersionId", writes=True),
    _on_policy(
        "ListEntitiesForPolicy",
        policy.list_entities,
        f"EntityFilter PathPrefix PolicyUsageFilter {PAGES}",
        writes=False,
    ),
    _on_policy("TagPolicy", policy.tag, "Tags", writes=True),
    _on_policy("UntagPolicy", policy.untag, "TagKeys", writes=True),
    _on_policy("ListPolicyTags", policy.list_tags, PAGES, writes=False),
)

STS = (
    _reads("sts", "GetCallerIdentity", sts.get_caller_identity, "", sts.no_checks),
    _writes(
        "sts",
        "AssumeRole",
        sts.assume_role,
        "RoleArn RoleSessionName PolicyArns Policy DurationSeconds ExternalId",
        sts.no_checks,
    ),
)

IDENTITY_OPERATIONS: tuple[Operation, ...] = (*ROLES, *INSTANCE_PROFILES, *POLICIES, *STS)
