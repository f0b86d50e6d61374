"""IAM, as the console asks for it: roles and users, their policies, trust and keys."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from skylift.client.errors import Refused, SkyliftError
from skylift.console.call import Call
from skylift.console.port import Facts, Port
from skylift.console.rows import Row, as_tags, as_time, spell_tags

SERVICES = {"ec2.amazonaws.com": "Servers (EC2)", "autoscaling.amazonaws.com": "Auto Scaling"}
"""Whom a role may be made for; servers are the first."""


@dataclass(frozen=True)
class RoleRow(Row):
    path: str
    trusts: str
    created: str
    description: str
    arn: str


@dataclass(frozen=True)
class UserRow(Row):
    path: str
    created: str
    arn: str


@dataclass(frozen=True)
class Holder:
    """Who has policies: a role or a user. Their operations differ by that word only."""

    kind: Literal["role", "user"]
    name: str

    def call(self, operation: str, **params: Any) -> Call:
        """`operation` has `{}` where IAM says role or user."""
        return Call("iam", operation.format(self.kind), {f"{self.kind.title()}Name": self.name, **params})

    def put_policy(self, name: str, document: str) -> Call:
        return self.call("put_{}_policy", PolicyName=name, PolicyDocument=compact(document))

    def delete_policy(self, name: str) -> Call:
        return self.call("delete_{}_policy", PolicyName=name)

    def attach(self, policy: str) -> Call:
        return self.call("attach_{}_policy", PolicyArn=policy)

    def detach(self, policy: str) -> Call:
        return self.call("detach_{}_policy", PolicyArn=policy)


@dataclass(frozen=True)
class UserPolicies:
    """The names of inline ones; attached ones by name with their ARNs."""

    inline: Sequence[str]
    attached: Mapping[str, str]


@dataclass(frozen=True)
class RoleDetail:
    arn: str
    details: Facts
    profiles: tuple[str, ...]
    """Names of the instance profiles that hand it to servers."""


@dataclass(frozen=True)
class UserDetail:
    arn: str
    details: Facts
    groups: tuple[str, ...]


@dataclass(frozen=True)
class UserKey:
    id: str
    status: str
    created: str


@dataclass(frozen=True)
class Use:
    """An instance that has a profile of the role's."""

    association: str
    instance: str
    state: str


def compact(document: str) -> str:
    """In one line: IAM counts characters, and a command is read more easily."""
    return json.dumps(json.loads(document), ensure_ascii=False)


def reflow(document: str) -> str:
    """As it is shown once IAM has it."""
    return spell_document(json.loads(document))


def spell_document(document: Any) -> str:
    return json.dumps(document, indent=2, ensure_ascii=False)


def trust_of(service: str) -> str:
    """The trust policy of a role for a service."""
    statement = {"Effect": "Allow", "Principal": {"Service": service}, "Action": "sts:AssumeRole"}
    return spell_document({"Version": "2012-10-17", "Statement": [statement]})


# Calls.


def create_role(name: str, service: str) -> list[Call]:
    """A role for servers is handed to them by an instance profile: it gets one of its own name, as in AWS's console."""
    made = [Call("iam", "create_role", {"RoleName": name, "AssumeRolePolicyDocument": compact(trust_of(service))})]
    return [*made, *create_profile(name)] if service == "ec2.amazonaws.com" else made


def create_profile(role: str) -> list[Call]:
    return [
        Call("iam", "create_instance_profile", {"InstanceProfileName": role}),
        Call("iam", "add_role_to_instance_profile", {"InstanceProfileName": role, "RoleName": role}),
    ]


def _undo(made: Call) -> list[Call]:
    """What takes away again what a call has made."""
    if not made.operation.startswith("create_"):
        return []
    name = {key: value for key, value in made.params.items() if key in ("RoleName", "InstanceProfileName")}
    return [Call("iam", made.operation.replace("create_", "delete_", 1), name)]


def put_trust(role: str, document: str) -> Call:
    params = {"RoleName": role, "PolicyDocument": compact(document)}
    return Call("iam", "update_assume_role_policy", params)


def delete_role(role: str, policies: UserPolicies, profiles: Sequence[str]) -> list[Call]:
    """IAM deletes a role that holds nothing any more, so all that it holds goes before."""
    holder = Holder("role", role)
    return [*_strip(holder, policies), *_without_profiles(role, profiles), holder.call("delete_{}")]


def delete_user(user: str, policies: UserPolicies, keys: Sequence[UserKey], groups: Sequence[str]) -> list[Call]:
    holder = Holder("user", user)
    taken = [Call("iam", "delete_access_key", {"UserName": user, "AccessKeyId": each.id}) for each in keys]
    left = [Call("iam", "remove_user_from_group", {"GroupName": each, "UserName": user}) for each in groups]
    return [*taken, *left, *_strip(holder, policies), holder.call("delete_{}")]


def _strip(holder: Holder, policies: UserPolicies) -> list[Call]:
    return [*map(holder.delete_policy, policies.inline), *map(holder.detach, policies.attached.values())]


def _without_profiles(role: str, profiles: Sequence[str]) -> list[Call]:
    found = []
    for each in profiles:
        found.append(Call("iam", "remove_role_from_instance_profile", {"InstanceProfileName": each, "RoleName": role}))
        # One of the role's own name was made for it, and is nothing without it.
        found += [Call("iam", "delete_instance_profile", {"InstanceProfileName": each})] if each == role else []
    return found


def create_user(name: str) -> Call:
    return Call("iam", "create_user", {"UserName": name})


def set_key(user: str, key: str, *, active: bool) -> Call:
    status = "Active" if active else "Inactive"
    return Call("iam", "update_access_key", {"UserName": user, "AccessKeyId": key, "Status": status})


def attach_profile(instance: str, profile: str, association: str = "") -> Call:
    """An instance has one profile at a time: one that it has, an `association`, is replaced."""
    which = {"AssociationId": association} if association else {"InstanceId": instance}
    operation = "replace_iam_instance_profile_association" if association else "associate_iam_instance_profile"
    return Call("ec2", operation, {**which, "IamInstanceProfile": {"Name": profile}})


def simulate(arn: str, actions: Sequence[str], resources: Sequence[str]) -> Call:
    params: dict[str, Any] = {"PolicySourceArn": arn, "ActionNames": list(actions)}
    return Call("iam", "simulate_principal_policy", params | ({"ResourceArns": list(resources)} if resources else {}))


# What there is.


class Identities:
    """Every method may raise SkyliftError."""

    def __init__(self, port: Port) -> None:
        self._port = port

    def roles(self) -> list[RoleRow]:
        return [
            RoleRow(
                id=each["RoleName"],
                path=each["Path"],
                trusts=_spell_principals(each.get("AssumeRolePolicyDocument", {})),
                created=as_time(each.get("CreateDate")),
                description=each.get("Description", ""),
                arn=each["Arn"],
            )
            for each in self._port.pages(Call("iam", "list_roles"), "Roles")
        ]

    def users(self) -> list[UserRow]:
        return [
            UserRow(each["UserName"], each["Path"], as_time(each.get("CreateDate")), each["Arn"])
            for each in self._port.pages(Call("iam", "list_users"), "Users")
        ]

    def role(self, name: str) -> RoleDetail:
        holder = Holder("role", name)
        found = self._port.perform(holder.call("get_{}"))["Role"]
        profiles = self._port.pages(holder.call("list_instance_profiles_for_{}"), "InstanceProfiles")
        details = (
            ("ARN", found["Arn"]),
            ("Path", found["Path"]),
            ("Description", found.get("Description", "")),
            ("Who may take it", _spell_principals(found.get("AssumeRolePolicyDocument", {}))),
            ("Longest session", f"{found.get('MaxSessionDuration', 3600) / 3600:g} h"),
            ("Boundary", found.get("PermissionsBoundary", {}).get("PermissionsBoundaryArn", "")),
            ("Created", as_time(found.get("CreateDate"))),
            ("Tags", spell_tags(as_tags(found))),
        )
        names = tuple(sorted(each["InstanceProfileName"] for each in profiles))
        return RoleDetail(found["Arn"], details, names)

    def user(self, name: str) -> UserDetail:
        holder = Holder("user", name)
        found = self._port.perform(holder.call("get_{}"))["User"]
        groups = self._port.pages(holder.call("list_groups_for_{}"), "Groups")
        named = tuple(sorted(each["GroupName"] for each in groups))
        details = (
            ("ARN", found["Arn"]),
            ("Path", found["Path"]),
            ("Groups", ", ".join(named)),
            ("Boundary", found.get("PermissionsBoundary", {}).get("PermissionsBoundaryArn", "")),
            ("Created", as_time(found.get("CreateDate"))),
            ("Tags", spell_tags(as_tags(found))),
        )
        return UserDetail(found["Arn"], details, named)

    def policies(self, holder: Holder) -> UserPolicies:
        names = self._port.pages(holder.call("list_{}_policies"), "PolicyNames")
        attached = self._port.pages(holder.call("list_attached_{}_policies"), "AttachedPolicies")
        return UserPolicies(names, {each["PolicyName"]: each["PolicyArn"] for each in attached})

    def inline_policy(self, holder: Holder, name: str) -> str:
        """Its document as it is now; empty where there is none of this name."""
        try:
            found = self._port.perform(holder.call("get_{}_policy", PolicyName=name))
        except Refused as error:
            if error.code == "NoSuchEntity":
                return ""
            raise
        return spell_document(found["PolicyDocument"])

    def trust(self, role: str) -> str:
        """Its trust policy as it is now."""
        found = self._port.perform(Holder("role", role).call("get_{}"))["Role"]
        return spell_document(found["AssumeRolePolicyDocument"])

    def document(self, arn: str) -> str:
        """Of a policy that may be attached, as it holds now."""
        policy = self._port.perform(Call("iam", "get_policy", {"PolicyArn": arn}))["Policy"]
        params = {"PolicyArn": arn, "VersionId": policy["DefaultVersionId"]}
        found = self._port.perform(Call("iam", "get_policy_version", params))
        return spell_document(found["PolicyVersion"]["Document"])

    def attachable(self) -> dict[str, str]:
        """ARNs of all policies that may be attached, with their names."""
        found = self._port.pages(Call("iam", "list_policies", {}), "Policies")
        return {each["Arn"]: each["PolicyName"] for each in found}

    def keys(self, user: str) -> list[UserKey]:
        found = self._port.pages(Call("iam", "list_access_keys", {"UserName": user}), "AccessKeyMetadata")
        return [UserKey(each["AccessKeyId"], each["Status"], as_time(each.get("CreateDate"))) for each in found]

    def uses(self, profiles: Sequence[str]) -> list[Use]:
        """The instances that have one of these profiles."""
        return [
            Use(each["AssociationId"], each["InstanceId"], each["State"])
            for each in self._associations()
            if each["IamInstanceProfile"]["Arn"].rpartition("/")[2] in profiles
        ]

    def association(self, instance: str) -> str:
        """That of the profile that an instance has; empty where it has none."""
        return next((each["AssociationId"] for each in self._associations() if each["InstanceId"] == instance), "")

    def _associations(self) -> list[Any]:
        call = Call("ec2", "describe_iam_instance_profile_associations", {})
        found = self._port.pages(call, "IamInstanceProfileAssociations")
        return [each for each in found if each["State"] in ("associating", "associated")]

    def create_role(self, name: str, service: str) -> None:
        """The role with its instance profile, or neither."""
        made: list[Call] = []
        try:
            for each in create_role(name, service):
                self._port.perform(each)
                made.append(each)
        except SkyliftError:
            self.perform_all([undone for each in reversed(made) for undone in _undo(each)])
            raise

    def perform_all(self, calls: Sequence[Call]) -> None:
        """One after the other. What is gone already need not be deleted."""
        for each in calls:
            try:
                self._port.perform(each)
            except Refused as error:
                if error.code != "NoSuchEntity" or not each.operation.startswith(("delete_", "detach_", "remove_")):
                    raise

    def simulate(self, arn: str, actions: Sequence[str], resources: Sequence[str]) -> list[tuple[str, ...]]:
        """What the policies say about each action on each resource: both of these, the decision, the policies that have
        decided, and what of the context was missing."""
        found = self._port.pages(simulate(arn, actions, resources), "EvaluationResults")
        return [
            (
                each["EvalActionName"],
                each.get("EvalResourceName", "*"),
                each["EvalDecision"],
                ", ".join(sorted({one.get("SourcePolicyId", "") for one in each.get("MatchedStatements", [])})),
                ", ".join(each.get("MissingContextValues", [])),
            )
            for each in found
        ]


def _spell_principals(document: Any) -> str:
    """Who may take a role, by its trust policy."""
    statements = document.get("Statement", []) if isinstance(document, dict) else []
    found: dict[str, None] = {}
    for each in [statements] if isinstance(statements, dict) else statements:
        principal = each.get("Principal", {}) if each.get("Effect") == "Allow" else {}
        for one in principal.values() if isinstance(principal, dict) else [principal]:
            found |= dict.fromkeys([one] if isinstance(one, str) else one)
    return ", ".join(found)
