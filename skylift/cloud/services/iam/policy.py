"""Managed policies: a customer's own, with up to five versions, and those of AWS."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING

from skylift.cloud.domain.error import ServiceError
from skylift.cloud.domain.identity import Caller, Group, ManagedPolicy, PolicyVersion, Role, User
from skylift.cloud.services.api import iam_rules
from skylift.cloud.services.api.aws_policy import AWS_POLICIES
from skylift.cloud.services.api.identity_policy import checked_managed_policy
from skylift.cloud.services.api.operation import Check, Nothing, Params
from skylift.cloud.services.api.policy_document import document_size
from skylift.cloud.services.iam.operation import PAGES, checks_to_make, on_arn, reads, writes
from skylift.cloud.services.iam.tagging import Tags
from skylift.cloud.store.database import Tx
from skylift.cloud.store.identity import attachments, boundaries, holders, name_taken, under_path

if TYPE_CHECKING:
    from aws_shapes import iam

MAX_POLICIES = 1500
MAX_SIZE = 6144
MAX_VERSIONS = 5

_ARN = re.compile(r"arn:aws:iam::(aws|\d{12}):policy/(\S+/)?[\w+=,.@-]+", re.ASCII)


def create(tx: Tx, caller: Caller, params: iam.CreatePolicyRequest) -> iam.CreatePolicyResponse:
    name, path = iam_rules.checked_name(params, "PolicyName", 128), iam_rules.checked_path(params)
    description = iam_rules.checked_text(params, "Description", 1000)
    text = checked_document(params["PolicyDocument"])
    if name_taken(tx, ManagedPolicy, name):
        raise iam_rules.exists(f"A policy called {name}")
    if tx.count(ManagedPolicy) >= MAX_POLICIES:
        raise iam_rules.over_quota("PoliciesPerAccount", MAX_POLICIES)
    policy = ManagedPolicy(
        arn=arn_of(caller, name, path),
        name=name,
        id=iam_rules.new_id("ANPA"),
        path=path,
        created=tx.now,
        updated=tx.now,
        versions={"v1": PolicyVersion(text, tx.now)},
        default_version="v1",
        latest=1,
        description=description,
        tags=iam_rules.checked_tags(params),
    )
    tx.add(policy)
    # Only this answer and GetPolicy's carry tags; a policy that was just made is attached to nothing.
    answer = summary(policy, {}, {})
    return {"Policy": {**answer, "Tags": iam_rules.tag_list(policy.tags)} if policy.tags else answer}


def get(tx: Tx, _caller: Caller, params: iam.GetPolicyRequest) -> iam.GetPolicyResponse:
    policy = existing(tx, params["PolicyArn"])
    answer: iam.Policy = {**summary(policy, attachments(tx), boundaries(tx)), "Tags": iam_rules.tag_list(policy.tags)}
    return {"Policy": {**answer, "Description": policy.description} if policy.description else answer}


def list_all(tx: Tx, _caller: Caller, params: iam.ListPoliciesRequest) -> iam.ListPoliciesResponse:
    prefix = iam_rules.checked_prefix(params)
    scope = _one_of(params, "Scope", ("All", "AWS", "Local"))
    attached, bounding = attachments(tx), boundaries(tx)
    usage = _one_of(params, "PolicyUsageFilter", ("", "PermissionsPolicy", "PermissionsBoundary"))
    used = {"": {**attached, **bounding}, "PermissionsPolicy": attached, "PermissionsBoundary": bounding}[usage]
    only_used = params.get("OnlyAttached", False) or bool(usage)

    def fetch(after: str, limit: int) -> list[ManagedPolicy]:
        """AWS's come before the customer's."""
        found: list[ManagedPolicy] = []
        if scope != "Local":
            found += [policy for arn, policy in AWS_POLICIES.items() if policy.path.startswith(prefix)]
        if scope != "AWS":
            found += under_path(tx, ManagedPolicy, prefix, "", MAX_POLICIES)
        wanted = [policy for policy in found if _order(policy) > after and (not only_used or policy.arn in used)]
        return wanted[:limit]

    policies, more = iam_rules.page(params, fetch, _order)
    return {"Policies": [summary(policy, attached, bounding) for policy in policies], **more}


def delete(tx: Tx, _caller: Caller, params: iam.DeletePolicyRequest) -> Nothing:
    policy = own(tx, params["PolicyArn"])
    if attachments(tx).get(policy.arn) or boundaries(tx).get(policy.arn):
        raise ServiceError("DeleteConflict", "Cannot delete a policy attached to entities.", status=409)
    if len(policy.versions) > 1:
        raise ServiceError(
            "DeleteConflict",
            "This policy has more than one version. Before you delete a policy, you must delete the policy's "
            "versions. The default version is deleted with the policy.",
            status=409,
        )
    tx.remove(policy)
    return {}


def create_version(tx: Tx, _caller: Caller, params: iam.CreatePolicyVersionRequest) -> iam.CreatePolicyVersionResponse:
    policy = own(tx, params["PolicyArn"])
    text = checked_document(params["PolicyDocument"])
    if len(policy.versions) >= MAX_VERSIONS:
        raise ServiceError(
            "LimitExceeded",
            f"A managed policy can have up to {MAX_VERSIONS} versions. Before you create a new version, you must "
            "delete an existing version.",
            status=409,
        )
    number = policy.latest + 1
    version_id = f"v{number}"
    changed = replace(
        policy,
        versions={**policy.versions, version_id: PolicyVersion(text, tx.now)},
        latest=number,
        updated=tx.now,
        default_version=version_id if params.get("SetAsDefault", False) else policy.default_version,
    )
    tx.save(changed)
    return {"PolicyVersion": version_summary(changed, version_id)}


def get_version(tx: Tx, _caller: Caller, params: iam.GetPolicyVersionRequest) -> iam.GetPolicyVersionResponse:
    policy = existing(tx, params["PolicyArn"])
    version_id = _existing_version(policy, params["VersionId"])
    document = iam_rules.encoded(policy.versions[version_id].document)
    return {"PolicyVersion": {"Document": document, **version_summary(policy, version_id)}}


def list_versions(tx: Tx, _caller: Caller, params: iam.ListPolicyVersionsRequest) -> iam.ListPolicyVersionsResponse:
    policy = existing(tx, params["PolicyArn"])
    newest_first = sorted(policy.versions, key=lambda version_id: -int(version_id[1:]))
    # The pages follow the place in the list, which is the newest first.
    places = {version_id: f"{100_000 - int(version_id[1:]):06d}" for version_id in newest_first}
    versions, more = iam_rules.page_of(params, newest_first, places.__getitem__)
    return {"Versions": [version_summary(policy, version_id) for version_id in versions], **more}


def set_default_version(tx: Tx, _caller: Caller, params: iam.SetDefaultPolicyVersionRequest) -> Nothing:
    policy = own(tx, params["PolicyArn"])
    tx.save(replace(policy, default_version=_existing_version(policy, params["VersionId"]), updated=tx.now))
    return {}


def delete_version(tx: Tx, _caller: Caller, params: iam.DeletePolicyVersionRequest) -> Nothing:
    policy = own(tx, params["PolicyArn"])
    version_id = _existing_version(policy, params["VersionId"])
    if version_id == policy.default_version:
        raise ServiceError("DeleteConflict", "Cannot delete the default version of a policy.", status=409)
    kept = {kept_id: version for kept_id, version in policy.versions.items() if kept_id != version_id}
    tx.save(replace(policy, versions=kept))
    return {}


def list_entities(
    tx: Tx, _caller: Caller, params: iam.ListEntitiesForPolicyRequest
) -> iam.ListEntitiesForPolicyResponse:
    policy = existing(tx, params["PolicyArn"])
    prefix = iam_rules.checked_prefix(params)
    usage = _one_of(params, "PolicyUsageFilter", ("", "PermissionsPolicy", "PermissionsBoundary"))
    kind = _one_of(params, "EntityFilter", ("", "Role", "User", "Group", "LocalManagedPolicy", "AWSManagedPolicy"))
    attached, bounded = usage != "PermissionsBoundary", usage != "PermissionsPolicy"
    found: list[Group | User | Role] = []
    if kind in ("", "Group"):
        found += holders(tx, Group, policy.arn, attached=attached, bounded=bounded)
    if kind in ("", "User"):
        found += holders(tx, User, policy.arn, attached=attached, bounded=bounded)
    if kind in ("", "Role"):
        found += holders(tx, Role, policy.arn, attached=attached, bounded=bounded)
    under = [entity for entity in found if entity.path.startswith(prefix)]
    chosen, more = iam_rules.page_of(params, under, lambda entity: f"{type(entity).__name__} {entity.name}")
    return {
        "PolicyGroups": [{"GroupName": one.name, "GroupId": one.id} for one in chosen if isinstance(one, Group)],
        "PolicyUsers": [{"UserName": one.name, "UserId": one.id} for one in chosen if isinstance(one, User)],
        "PolicyRoles": [{"RoleName": one.name, "RoleId": one.id} for one in chosen if isinstance(one, Role)],
        **more,
    }


def checked_document(text: str) -> str:
    """A document that can be a managed policy's."""
    checked_managed_policy(text)
    if document_size(text) > MAX_SIZE:
        raise iam_rules.over_quota("PolicySize", MAX_SIZE)
    return text


def checked_arn(arn: str) -> str:
    if not _ARN.fullmatch(arn):
        raise iam_rules.invalid_input(f"ARN {arn} is not valid.")
    return arn


def parsed_arn(arn: str) -> str:
    """Like `checked_arn`, in the words of the operations that attach and detach.

    https://github.com/localstack/localstack/blob/main/tests/aws/services/iam/test_iam.snapshot.json
    (test_role_attach_policy)
    """
    if not _ARN.fullmatch(arn):
        raise ServiceError("ValidationError", "Invalid ARN:  Could not be parsed!", status=400)
    return arn


def find(tx: Tx, arn: str) -> ManagedPolicy | None:
    return AWS_POLICIES.get(arn) or tx.get(ManagedPolicy, arn=arn)


def existing(tx: Tx, arn: str) -> ManagedPolicy:
    policy = find(tx, checked_arn(arn))
    if policy is None:
        raise ServiceError("NoSuchEntity", f"Policy {arn} was not found.", status=404)
    return policy


def own(tx: Tx, arn: str) -> ManagedPolicy:
    """A policy that may be changed: not one of AWS's."""
    policy = existing(tx, arn)
    if policy.arn in AWS_POLICIES:
        raise ServiceError("AccessDenied", f"{arn} is a policy of AWS's own and cannot be changed.", status=403)
    return policy


def attachable(tx: Tx, arn: str, called: str) -> ManagedPolicy:
    """A policy for a role to have; `called` is how the operation's message names it."""
    policy = find(tx, parsed_arn(arn))
    if policy is None:
        raise ServiceError("NoSuchEntity", f"{called} {arn} does not exist or is not attachable.", status=404)
    if policy.path == "/aws-service-role/":
        raise ServiceError("PolicyNotAttachable", "Cannot attach a Service Role Policy to a Customer Role.", status=400)
    return policy


def summary(policy: ManagedPolicy, attached: dict[str, int], bounding: dict[str, int]) -> iam.Policy:
    """A policy as lists carry it: without description and tags."""
    return {
        "PolicyName": policy.name,
        "PolicyId": policy.id,
        "Arn": policy.arn,
        "Path": policy.path,
        "DefaultVersionId": policy.default_version,
        "AttachmentCount": attached.get(policy.arn, 0),
        "PermissionsBoundaryUsageCount": bounding.get(policy.arn, 0),
        "IsAttachable": True,
        "CreateDate": policy.created,
        "UpdateDate": policy.updated,
    }


def version_summary(policy: ManagedPolicy, version_id: str) -> iam.PolicyVersion:
    return {
        "VersionId": version_id,
        "IsDefaultVersion": version_id == policy.default_version,
        "CreateDate": policy.versions[version_id].created,
    }


def arn_of(caller: Caller, name: str, path: str = "/") -> str:
    return f"arn:aws:iam::{caller.account}:policy{path}{name}"


def check_create(_tx: Tx, caller: Caller, params: iam.CreatePolicyRequest) -> Iterable[Check]:
    return checks_to_make("Policy", arn_of(caller, params["PolicyName"], params.get("Path", "/")), params)


def check_list(_tx: Tx, caller: Caller, params: iam.ListPoliciesRequest) -> Iterable[Check]:
    return [Check("iam:ListPolicies", arn_of(caller, "", params.get("PathPrefix", "/")))]


def _existing_version(policy: ManagedPolicy, version_id: str) -> str:
    if not re.fullmatch(r"v[1-9][0-9]*(\.[A-Za-z0-9-]*)?", version_id):
        raise iam_rules.invalid_value(
            version_id, "versionId", r"satisfy regular expression pattern: v[1-9][0-9]*(\.[A-Za-z0-9-]*)?"
        )
    if version_id not in policy.versions:
        raise ServiceError(
            "NoSuchEntity", f"Policy {policy.arn} version {version_id} does not exist or is not attachable.", status=404
        )
    return version_id


def _one_of(params: Params, member: str, values: tuple[str, ...]) -> str:
    value: str = params.get(member, values[0])
    if value not in values:
        accepted = ", ".join(name for name in values if name)
        raise iam_rules.invalid_value(value, member[0].lower() + member[1:], f"satisfy enum value set: [{accepted}]")
    return value


def _order(policy: ManagedPolicy) -> str:
    """AWS's own first, then by name."""
    return f"{int(policy.arn not in AWS_POLICIES)} {policy.name}"


ON_POLICY = on_arn("PolicyArn")
TAGS = Tags("TagsPerPolicy", "PolicyArn", existing, own)

OPERATIONS = (
    writes("CreatePolicy", create, "PolicyName Path PolicyDocument Description Tags", check_create),
    reads("ListPolicies", list_all, f"Scope OnlyAttached PathPrefix PolicyUsageFilter {PAGES}", check_list),
    ON_POLICY.reads("GetPolicy", get),
    ON_POLICY.writes("DeletePolicy", delete),
    ON_POLICY.writes("CreatePolicyVersion", create_version, "PolicyDocument SetAsDefault"),
    ON_POLICY.reads("GetPolicyVersion", get_version, "VersionId"),
    ON_POLICY.reads("ListPolicyVersions", list_versions, PAGES),
    ON_POLICY.writes("SetDefaultPolicyVersion", set_default_version, "VersionId"),
    ON_POLICY.writes("DeletePolicyVersion", delete_version, "VersionId"),
    ON_POLICY.reads("ListEntitiesForPolicy", list_entities, f"EntityFilter PathPrefix PolicyUsageFilter {PAGES}"),
    ON_POLICY.writes("TagPolicy", TAGS.tag, "Tags"),
    ON_POLICY.writes("UntagPolicy", TAGS.untag, "TagKeys"),
    ON_POLICY.reads("ListPolicyTags", TAGS.list_all, PAGES),
)
