"""The account as a whole: counts of everything, and an export of who may do what."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from skylift.cloud.domain import identity
from skylift.cloud.services.api import trust
from skylift.cloud.services.api.aws_policy import AWS_POLICIES
from skylift.cloud.services.api.iam_rules import encoded, invalid_value, page_of, tag_list
from skylift.cloud.services.api.operation import Params
from skylift.cloud.services.api.service_role import MAX_ROLES
from skylift.cloud.services.iam import access_key, entity_policy, group, policy, role, user
from skylift.cloud.services.iam import instance_profile as profiles
from skylift.cloud.services.iam.operation import PAGES, reads
from skylift.cloud.store.database import Tx
from skylift.cloud.store.identity import attachments, boundaries, versions_in_use

if TYPE_CHECKING:
    from aws_shapes import iam

KINDS = ("User", "Role", "Group", "LocalManagedPolicy", "AWSManagedPolicy")

Entity = identity.User | identity.Role | identity.Group


def summary(tx: Tx, _caller: identity.Caller, _params: Params) -> iam.GetAccountSummaryResponse:
    """Counts of what there is, and quotas. This account has no certificates and no providers."""
    devices = tx.find(identity.MfaDevice)
    return {
        "SummaryMap": {
            "Users": tx.count(identity.User),
            "UsersQuota": user.MAX_USERS,
            "Groups": tx.count(identity.Group),
            "GroupsQuota": group.MAX_GROUPS,
            "Roles": tx.count(identity.Role),
            "RolesQuota": MAX_ROLES,
            "InstanceProfiles": tx.count(identity.InstanceProfile),
            "InstanceProfilesQuota": profiles.MAX_PROFILES,
            "Policies": tx.count(identity.ManagedPolicy),
            "PoliciesQuota": policy.MAX_POLICIES,
            "PolicySizeQuota": policy.MAX_SIZE,
            "PolicyVersionsInUse": versions_in_use(tx),
            "PolicyVersionsInUseQuota": policy.MAX_POLICIES * policy.MAX_VERSIONS,
            "VersionsPerPolicyQuota": policy.MAX_VERSIONS,
            "AttachedPoliciesPerUserQuota": entity_policy.MAX_ATTACHED,
            "AttachedPoliciesPerGroupQuota": entity_policy.MAX_ATTACHED,
            "AttachedPoliciesPerRoleQuota": entity_policy.MAX_ATTACHED,
            "UserPolicySizeQuota": entity_policy.MAX_USER_INLINE,
            "GroupPolicySizeQuota": entity_policy.MAX_GROUP_INLINE,
            "RolePolicySizeQuota": entity_policy.MAX_ROLE_INLINE,
            "AssumeRolePolicySizeQuota": trust.MAX_SIZE,
            "GroupsPerUserQuota": group.MAX_GROUPS_OF_USER,
            "AccessKeysPerUserQuota": access_key.MAX_KEYS,
            "AccountAccessKeysPresent": int(bool(tx.find(identity.AccessKey, user=None))),
            "AccountMFAEnabled": 0,
            "AccountPasswordPresent": 0,
            "AccountSigningCertificatesPresent": 0,
            "MFADevices": len(devices),
            "MFADevicesInUse": sum(one.user_id is not None for one in devices),
            "Providers": len(tx.find(identity.OidcProvider)),
            "ServerCertificates": 0,
        }
    }


def authorization_details(
    tx: Tx, _caller: identity.Caller, params: iam.GetAccountAuthorizationDetailsRequest
) -> iam.GetAccountAuthorizationDetailsResponse:
    """Users, groups and roles with their policies, and managed policies; `Filter` picks kinds of them."""
    wanted = params.get("Filter") or list(KINDS)
    for number, kind in enumerate(wanted, start=1):
        if kind not in KINDS:
            raise invalid_value(kind, f"filter.{number}.member", f"satisfy enum value set: [{', '.join(KINDS)}]")
    found: list[Entity | identity.ManagedPolicy] = []
    for noun in (identity.User, identity.Group, identity.Role):
        found += tx.find(noun) if noun.__name__ in wanted else []
    if "LocalManagedPolicy" in wanted:
        found += tx.find(identity.ManagedPolicy)
    if "AWSManagedPolicy" in wanted:
        found += AWS_POLICIES.values()
    chosen, more = page_of(params, found, lambda item: f"{type(item).__name__} {item.arn}")
    attached, bounding = attachments(tx), boundaries(tx)
    return {
        "UserDetailList": [_user(item) for item in chosen if isinstance(item, identity.User)],
        "GroupDetailList": [_group(item) for item in chosen if isinstance(item, identity.Group)],
        "RoleDetailList": [_role(tx, item) for item in chosen if isinstance(item, identity.Role)],
        "Policies": [_policy(item, attached, bounding) for item in chosen if isinstance(item, identity.ManagedPolicy)],
        **more,
    }


def _user(item: identity.User) -> iam.UserDetail:
    return {
        **cast("iam.UserDetail", user.described(item)),
        "UserPolicyList": _inline(item),
        "GroupList": list(item.groups),
        "AttachedManagedPolicies": entity_policy.attached_policies(item.attached),
    }


def _group(item: identity.Group) -> iam.GroupDetail:
    return {
        **group.described(item),
        "GroupPolicyList": _inline(item),
        "AttachedManagedPolicies": entity_policy.attached_policies(item.attached),
    }


def _role(tx: Tx, item: identity.Role) -> iam.RoleDetail:
    answer: iam.RoleDetail = {
        "Path": item.path,
        "RoleName": item.name,
        "RoleId": item.id,
        "Arn": item.arn,
        "CreateDate": item.created,
        "AssumeRolePolicyDocument": encoded(item.trust_policy),
        "InstanceProfileList": [
            profiles.summary(tx, profile) for profile in tx.find(identity.InstanceProfile, role=item.name)
        ],
        "RolePolicyList": _inline(item),
        "AttachedManagedPolicies": entity_policy.attached_policies(item.attached),
        "RoleLastUsed": role.last_used(item),
        "Tags": tag_list(item.tags),
    }
    described = role.described(item)
    if "PermissionsBoundary" in described:
        answer["PermissionsBoundary"] = described["PermissionsBoundary"]
    return answer


def _policy(
    item: identity.ManagedPolicy, attached: dict[str, int], bounding: dict[str, int]
) -> iam.ManagedPolicyDetail:
    versions: list[iam.PolicyVersion] = [
        {"Document": encoded(item.versions[number].document), **policy.version_summary(item, number)}
        for number in sorted(item.versions, key=lambda number: -int(number[1:]))
    ]
    shown = cast("iam.ManagedPolicyDetail", policy.summary(item, attached, bounding))
    shown["PolicyVersionList"] = versions
    if item.description:
        shown["Description"] = item.description
    return shown


def _inline(item: Entity) -> list[iam.PolicyDetail]:
    return [{"PolicyName": name, "PolicyDocument": encoded(text)} for name, text in sorted(item.inline.items())]


OPERATIONS = (
    reads("GetAccountSummary", summary),
    reads("GetAccountAuthorizationDetails", authorization_details, f"Filter {PAGES}"),
)
