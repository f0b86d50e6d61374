"""The policies of a role, user or group: inline policies, attached managed policies, and the boundary around both."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from skylift.cloud.domain.error import ServiceError
from skylift.cloud.domain.identity import Caller, Group, Role, User
from skylift.cloud.services.api.iam_rules import checked_name, checked_prefix, encoded, no_such, over_quota, page_of
from skylift.cloud.services.api.identity_policy import checked_identity_policy
from skylift.cloud.services.api.operation import Answer, Nothing, Operation, Params
from skylift.cloud.services.api.policy_document import document_size
from skylift.cloud.services.iam import group as groups
from skylift.cloud.services.iam import role as roles
from skylift.cloud.services.iam import user as users
from skylift.cloud.services.iam.group import ON_GROUP
from skylift.cloud.services.iam.operation import PAGES, OnNoun
from skylift.cloud.services.iam.policy import attachable, parsed_arn
from skylift.cloud.services.iam.role import ON_ROLE
from skylift.cloud.services.iam.user import ON_USER
from skylift.cloud.store.database import Tx

MAX_ATTACHED = 10

Entity = TypeVar("Entity", Role, User, Group)
Bounded = TypeVar("Bounded", Role, User)

if TYPE_CHECKING:
    from aws_shapes import iam

    # The shapes of roles, users and groups differ in the member that names the entity, which `kind` gives.
    PutPolicy = iam.PutRolePolicyRequest | iam.PutUserPolicyRequest | iam.PutGroupPolicyRequest
    GetPolicy = iam.GetRolePolicyRequest | iam.GetUserPolicyRequest | iam.GetGroupPolicyRequest
    ListPolicies = iam.ListRolePoliciesRequest | iam.ListUserPoliciesRequest | iam.ListGroupPoliciesRequest
    DeletePolicy = iam.DeleteRolePolicyRequest | iam.DeleteUserPolicyRequest | iam.DeleteGroupPolicyRequest
    AttachPolicy = iam.AttachRolePolicyRequest | iam.AttachUserPolicyRequest | iam.AttachGroupPolicyRequest
    DetachPolicy = iam.DetachRolePolicyRequest | iam.DetachUserPolicyRequest | iam.DetachGroupPolicyRequest
    ListAttached = (
        iam.ListAttachedRolePoliciesRequest | iam.ListAttachedUserPoliciesRequest | iam.ListAttachedGroupPoliciesRequest
    )
    PutBoundary = iam.PutRolePermissionsBoundaryRequest | iam.PutUserPermissionsBoundaryRequest
    DeleteBoundary = iam.DeleteRolePermissionsBoundaryRequest | iam.DeleteUserPermissionsBoundaryRequest


@dataclass(frozen=True)
class EntityPolicies(Generic[Entity]):
    """The operations on the policies of one kind of entity. `kind` is what AWS calls it: Role, User, Group."""

    kind: str
    existing: Callable[[Tx, str], Entity]
    changeable: Callable[[Tx, str], Entity]
    max_inline_size: int

    def put(self, tx: Tx, _caller: Caller, params: PutPolicy) -> Nothing:
        entity = self.changeable(tx, self._name(params))
        name, text = checked_name(params, "PolicyName", 128), params["PolicyDocument"]
        checked_identity_policy(text)
        inline = {**entity.inline, name: text}
        if sum(map(document_size, inline.values())) > self.max_inline_size:
            raise ServiceError(
                "LimitExceeded",
                f"Maximum policy size of {self.max_inline_size} bytes exceeded for {self.kind.lower()} {entity.name}",
                status=409,
            )
        tx.save(replace(entity, inline=inline))
        return {}

    def get(self, tx: Tx, _caller: Caller, params: GetPolicy) -> Answer:
        entity = self._entity(tx, params)
        name = params["PolicyName"]
        if name not in entity.inline:
            raise self._no_such_policy(name)
        return {f"{self.kind}Name": entity.name, "PolicyName": name, "PolicyDocument": encoded(entity.inline[name])}

    def list_all(self, tx: Tx, _caller: Caller, params: ListPolicies) -> iam.ListRolePoliciesResponse:
        entity = self._entity(tx, params)
        names, more = page_of(params, list(entity.inline), str)
        return {"PolicyNames": names, **more}

    def delete(self, tx: Tx, _caller: Caller, params: DeletePolicy) -> Nothing:
        entity = self.changeable(tx, self._name(params))
        name = params["PolicyName"]
        if name not in entity.inline:
            raise self._no_such_policy(name)
        tx.save(replace(entity, inline={kept: text for kept, text in entity.inline.items() if kept != name}))
        return {}

    def attach(self, tx: Tx, _caller: Caller, params: AttachPolicy) -> Nothing:
        entity = self.changeable(tx, self._name(params))
        policy = attachable(tx, params["PolicyArn"], "Policy")
        if policy.arn in entity.attached:
            return {}
        if len(entity.attached) >= MAX_ATTACHED:
            raise over_quota(f"PoliciesPer{self.kind}", MAX_ATTACHED)
        tx.save(replace(entity, attached=_with(entity.attached, policy.arn)))
        return {}

    def detach(self, tx: Tx, _caller: Caller, params: DetachPolicy) -> Nothing:
        entity = self.changeable(tx, self._name(params))
        arn = parsed_arn(params["PolicyArn"])
        if arn not in entity.attached:
            raise ServiceError("NoSuchEntity", f"Policy {arn} was not found.", status=404)
        tx.save(replace(entity, attached=tuple(kept for kept in entity.attached if kept != arn)))
        return {}

    def list_attached(self, tx: Tx, _caller: Caller, params: ListAttached) -> iam.ListAttachedRolePoliciesResponse:
        entity = self._entity(tx, params)
        prefix = checked_prefix(params)
        policies, more = page_of(params, attached_policies(entity.attached, prefix), _name_and_arn)
        return {"AttachedPolicies": policies, **more}

    def _entity(self, tx: Tx, params: Params) -> Entity:
        return self.existing(tx, self._name(params))

    def _name(self, params: Params) -> str:
        name: str = params[f"{self.kind}Name"]
        return name

    def _no_such_policy(self, name: str) -> ServiceError:
        return no_such(f"{self.kind.lower()} policy with name {name}")


@dataclass(frozen=True)
class Boundaries(Generic[Bounded]):
    """The operations on the permissions boundary of roles and users."""

    kind: str
    changeable: Callable[[Tx, str], Bounded]

    def put(self, tx: Tx, _caller: Caller, params: PutBoundary) -> Nothing:
        entity = self._entity(tx, params)
        policy = attachable(tx, params["PermissionsBoundary"], "Policy")
        tx.save(replace(entity, permissions_boundary=policy.arn))
        return {}

    def delete(self, tx: Tx, _caller: Caller, params: DeleteBoundary) -> Nothing:
        entity = self._entity(tx, params)
        if entity.permissions_boundary is None:
            raise no_such(f"permissions boundary of the {self.kind.lower()} with name {entity.name}")
        tx.save(replace(entity, permissions_boundary=None))
        return {}

    def _entity(self, tx: Tx, params: Params) -> Bounded:
        return self.changeable(tx, params[f"{self.kind}Name"])


def _with(arns: tuple[str, ...], arn: str) -> tuple[str, ...]:
    return (*arns, arn)


def attached_policies(arns: tuple[str, ...], prefix: str = "/") -> list[iam.AttachedPolicy]:
    """Policies by their ARNs alone: a service-linked role may have one of AWS's whose document this cloud has not."""
    parts = [(arn, *arn.partition(":policy")[2].rpartition("/")) for arn in arns]
    return [{"PolicyName": name, "PolicyArn": arn} for arn, path, _, name in parts if f"{path}/".startswith(prefix)]


def _name_and_arn(policy: iam.AttachedPolicy) -> str:
    """A customer's policy may have the name of one of AWS's."""
    return f"{policy['PolicyName']} {policy['PolicyArn']}"


MAX_ROLE_INLINE = 10240
MAX_USER_INLINE = 2048
MAX_GROUP_INLINE = 5120

ROLE_POLICIES = EntityPolicies("Role", roles.existing, roles.changeable, MAX_ROLE_INLINE)
USER_POLICIES = EntityPolicies("User", users.existing, users.existing, MAX_USER_INLINE)
GROUP_POLICIES = EntityPolicies("Group", groups.existing, groups.existing, MAX_GROUP_INLINE)
ROLE_BOUNDARY = Boundaries("Role", roles.changeable)
USER_BOUNDARY = Boundaries("User", users.existing)


def _rows(on: OnNoun, policies: EntityPolicies[Any]) -> tuple[Operation, ...]:
    kind = policies.kind
    return (
        on.writes(f"Put{kind}Policy", policies.put, "PolicyName PolicyDocument"),
        on.reads(f"Get{kind}Policy", policies.get, "PolicyName"),
        on.reads(f"List{kind}Policies", policies.list_all, PAGES),
        on.writes(f"Delete{kind}Policy", policies.delete, "PolicyName"),
        on.writes(f"Attach{kind}Policy", policies.attach, "PolicyArn"),
        on.writes(f"Detach{kind}Policy", policies.detach, "PolicyArn"),
        on.reads(f"ListAttached{kind}Policies", policies.list_attached, f"PathPrefix {PAGES}"),
    )


OPERATIONS = (
    *_rows(ON_ROLE, ROLE_POLICIES),
    ON_ROLE.writes("PutRolePermissionsBoundary", ROLE_BOUNDARY.put, "PermissionsBoundary"),
    ON_ROLE.writes("DeleteRolePermissionsBoundary", ROLE_BOUNDARY.delete),
    *_rows(ON_USER, USER_POLICIES),
    ON_USER.writes("PutUserPermissionsBoundary", USER_BOUNDARY.put, "PermissionsBoundary"),
    ON_USER.writes("DeleteUserPermissionsBoundary", USER_BOUNDARY.delete),
    *_rows(ON_GROUP, GROUP_POLICIES),
)
