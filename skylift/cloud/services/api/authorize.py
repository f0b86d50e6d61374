"""Decides whether the caller may do what it asks: the policy evaluator, and the question as each service asks it.

Evaluation follows the IAM user guide's "Policy evaluation logic" for one account: an explicit deny wins over
everything; otherwise the identity's own policies, its permissions boundary and its session policies must each allow.
What a resource's own policy allows stands in for the identity's policies; see `principal` for how far.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime

from skylift.cloud.domain.bucket import Bucket, BucketPolicy
from skylift.cloud.domain.error import ServiceError
from skylift.cloud.domain.identity import Caller, Group, ManagedPolicy, Role, User
from skylift.cloud.domain.vpc_endpoint import VpcEndpoint
from skylift.cloud.services.api.acl_policy import by_acl
from skylift.cloud.services.api.aws_policy import AWS_POLICIES
from skylift.cloud.services.api.condition import Context, Keys, normalised, resolver
from skylift.cloud.services.api.denial_message import sealed
from skylift.cloud.services.api.iam_rules import without_tags
from skylift.cloud.services.api.operation import Check
from skylift.cloud.services.api.policy_document import PolicyDocument, Statement, parse_policy
from skylift.cloud.services.api.principal import CallerNames, denied, granted, who_is, widest
from skylift.cloud.services.api.public_policy import is_public
from skylift.cloud.services.api.resource_key import of_resource
from skylift.cloud.store.database import Tx
from skylift.cloud.store.network import primary_interface

ROOT_ALWAYS = frozenset({"s3:PutBucketPolicy", "s3:GetBucketPolicy", "s3:DeleteBucketPolicy"})
"""No bucket policy can take these from the account's root; otherwise a bucket could be locked for ever."""

_EVERYTHING = '{"Statement": {"Effect": "Allow", "Action": "*", "Resource": "*"}}'
"""The policy of the account's root."""

_BUCKETS = "arn:aws:s3:::"
_PRINCIPAL_TYPES = {
    "root": "Account",
    "user": "User",
    "role": "AssumedRole",
    "federated": "FederatedUser",
    "anonymous": "Anonymous",
}


@dataclass(frozen=True)
class Policies:
    """All policies that apply to one caller. `boundary` is None without a boundary, `session` None if the session was
    not narrowed.

    `resource` are the policies of the resource in question, `endpoint` is that of the VPC endpoint that the request
    came through; both name callers by the names in `who`.
    """

    identity: tuple[PolicyDocument, ...] = ()
    boundary: PolicyDocument | None = None
    session: tuple[PolicyDocument, ...] | None = None
    resource: tuple[PolicyDocument, ...] = ()
    endpoint: PolicyDocument | None = None
    who: CallerNames = field(default_factory=CallerNames)

    def groups(self) -> list[tuple[str, tuple[PolicyDocument, ...]]]:
        """Each group by AWS's name for it; all of them have to allow."""
        found = [("identity-based policy", self.identity)]
        if self.boundary is not None:
            found.append(("permissions boundary", (self.boundary,)))
        if self.session is not None:
            found.append(("session policy", self.session))
        return found


@dataclass(frozen=True)
class Decision:
    """`why` completes AWS's sentence "... is not authorized to perform: ACTION on resource: ARN"."""

    allowed: bool
    why: str = ""


def decide(policies: Policies, action: str, resource: str, context: Mapping[str, str | tuple[str, ...]]) -> Decision:
    """Pure: the same policies, action (`s3:GetObject`), resource ARN (or `*`) and context give the same decision."""
    keys = normalised(context)
    groups = policies.groups()
    for name, documents in groups:
        if any(applies(statement, action, resource, keys) for statement in _statements(documents, allow=False)):
            article = "an" if name[0] in "aeiou" else "a"
            return Decision(False, f"with an explicit deny in {article} {name}")
    for statement in _statements(policies.resource, allow=False):
        if denied(statement, policies.who) and applies(statement, action, resource, keys):
            return Decision(False, "with an explicit deny in a resource-based policy")
    if policies.endpoint is not None and (refused := _refused_by_endpoint(policies, action, resource, keys)):
        return Decision(False, refused)
    reach = widest(
        [
            granted(statement, policies.who)
            for statement in _statements(policies.resource, allow=True)
            if applies(statement, action, resource, keys)
        ]
    )
    if policies.who.root or reach == "whole":
        return Decision(True)
    for name, documents in groups[1:] if reach == "limited" else groups:
        if not any(applies(statement, action, resource, keys) for statement in _statements(documents, allow=True)):
            return Decision(False, f"because no {name} allows the {action} action")
    return Decision(True)


def _refused_by_endpoint(policies: Policies, action: str, resource: str, keys: Keys) -> str:
    """Why the policy of a VPC endpoint does not let a request pass; empty when it does. It grants nothing by itself."""
    assert policies.endpoint is not None
    documents = (policies.endpoint,)
    for statement in _statements(documents, allow=False):
        if denied(statement, policies.who) and applies(statement, action, resource, keys):
            return "with an explicit deny in a VPC endpoint policy"
    for statement in _statements(documents, allow=True):
        if granted(statement, policies.who) != "nobody" and applies(statement, action, resource, keys):
            return ""
    return f"because no VPC endpoint policy allows the {action} action"


def decide_on(tx: Tx, caller: Caller, check: Check, documents: tuple[PolicyDocument, ...]) -> Decision:
    """The decision on one check of a resource that has these policies itself."""
    policies = replace(gather(tx, caller), resource=documents)
    return decide(policies, check.action, check.resource, context_of(tx, caller, check))


def authorize(tx: Tx, caller: Caller, checks: Iterable[Check], *, service: str) -> None:
    """Raise the denial of `service` for the first check that policies do not allow the caller.

    UnauthorizedOperation (403) of EC2, AccessDenied (403) of every other service.
    """
    policies = gather(tx, caller)
    for check in checks:
        decision = _decided(tx, caller, policies, check)
        if not decision.allowed:
            raise _sealed_too(tx, caller, check, decision, denial(caller, check, decision, service))


def permits(tx: Tx, caller: Caller, check: Check) -> Decision:
    """The decision on one check, for operations that answer item by item."""
    return _decided(tx, caller, gather(tx, caller), check)


def denial(caller: Caller, check: Check, decision: Decision, service: str) -> ServiceError:
    if caller.kind == "anonymous":
        return ServiceError("AccessDenied", "Access Denied", status=403)
    on = "" if check.resource == "*" else f" on resource: {check.resource}"
    sentence = f"User: {caller.arn} is not authorized to perform: {check.action}{on} {decision.why}"
    if service == "ec2":
        return ServiceError(
            "UnauthorizedOperation", f"You are not authorized to perform this operation. {sentence}", status=403
        )
    return ServiceError("AccessDenied", sentence, status=403)


def _sealed_too(tx: Tx, caller: Caller, check: Check, decision: Decision, error: ServiceError) -> ServiceError:
    """EC2's denials of actions on resources carry the whole question, for those who may decode it."""
    if error.code != "UnauthorizedOperation" or check.resource == "*":
        return error
    message = sealed(tx, caller, check, context_of(tx, caller, check), decision.why)
    text = f"{error.message}. Encoded authorization failure message: {message}"
    return ServiceError(error.code, text, status=error.status)


def gather(tx: Tx, caller: Caller) -> Policies:
    """The caller's policies as they are now: a change has effect on the next request."""
    who, endpoint = who_is(tx, caller), _endpoint_policy(tx, caller)
    holder: Role | User | None = None
    if caller.role:
        holder = tx.get(Role, name=caller.role)
    elif caller.user or caller.federator:
        holder = tx.get(User, name=caller.user or caller.federator)
    session = tuple(parse_policy(text) for text in caller.session_policies) or None
    if caller.kind == "federated":
        # Without session policies it may nothing, but for what a resource's policy allows it by name.
        session = session or ()
    if caller.kind == "federated" and caller.federator is None:
        return Policies((parse_policy(_EVERYTHING),), None, session, endpoint=endpoint, who=who)
    if holder is None:
        return Policies(endpoint=endpoint, who=who)
    return Policies(identity_policies(tx, holder), boundary_of(tx, holder), session, endpoint=endpoint, who=who)


def _endpoint_policy(tx: Tx, caller: Caller) -> PolicyDocument | None:
    if not caller.vpc_endpoint_id:
        return None
    found = tx.get(VpcEndpoint, id=caller.vpc_endpoint_id)
    # One that has gone since lets nothing pass, rather than everything.
    return PolicyDocument("", ()) if found is None else parse_policy(found.policy, "resource")


def identity_policies(tx: Tx, holder: Role | User | Group) -> tuple[PolicyDocument, ...]:
    """The identity policies of a role, of a user and its groups, or of a group."""
    attached = [document for arn in holder.attached if (document := managed_document(tx, arn)) is not None]
    own = tuple(parse_policy(text) for text in (*holder.inline.values(), *attached))
    if not isinstance(holder, User):
        return own
    groups = [group for name in holder.groups if (group := tx.get(Group, name=name)) is not None]
    return (*own, *(document for group in groups for document in identity_policies(tx, group)))


def boundary_of(tx: Tx, holder: Role | User) -> PolicyDocument | None:
    if not holder.permissions_boundary:
        return None
    # A boundary that is gone allows nothing, rather than everything.
    found = managed_document(tx, holder.permissions_boundary)
    return PolicyDocument("", ()) if found is None else parse_policy(found)


def resource_policies(tx: Tx, caller: Caller, check: Check) -> tuple[PolicyDocument, ...]:
    """The policies that stand on the resource of a check itself: a bucket's, for it and all objects in it; and what the
    ACL of a bucket or object is worth.

    Where S3 Block Public Access restricts public buckets, a public policy allows nothing but to this account's callers.
    What it denies, it denies to all.
    """
    if not check.resource.startswith(_BUCKETS):
        return ()
    name, _, key = check.resource.removeprefix(_BUCKETS).partition("/")
    # Root may do all of this anyhow.
    acl = () if caller.kind == "root" else by_acl(tx, caller, check.action, name, key)
    found = tx.get(BucketPolicy, bucket=name)
    if found is None:
        return acl
    document = parse_policy(found.document, "resource")
    if caller.kind == "anonymous" and is_public(document):
        bucket = tx.get(Bucket, name=name)
        if bucket is not None and bucket.public_access is not None and bucket.public_access.restrict_buckets:
            denials = tuple(statement for statement in document.statements if not statement.allows)
            document = replace(document, statements=denials)
    return (document, *acl)


def managed_document(tx: Tx, arn: str) -> str | None:
    """The text of a managed policy's default version; None when there is no such policy."""
    policy = AWS_POLICIES.get(arn) or tx.get(ManagedPolicy, arn=arn)
    return policy.versions[policy.default_version].document if policy else None


def caller_context(tx: Tx, caller: Caller, now: datetime) -> dict[str, str | tuple[str, ...]]:
    """The global condition keys of a request, as the IAM user guide names them."""
    context: dict[str, str | tuple[str, ...]] = {
        "aws:CurrentTime": now.isoformat(),
        "aws:EpochTime": str(int(now.timestamp())),
        "aws:PrincipalType": _PRINCIPAL_TYPES[caller.kind],
        "aws:RequestedRegion": caller.region,
        "aws:ResourceAccount": caller.account,
        "aws:SecureTransport": "true" if caller.secure else "false",
        "aws:userid": caller.user_id,
        "aws:ViaAWSService": "false",
    }
    if caller.vpc_endpoint_id:
        context["aws:SourceVpc"] = caller.vpc_id
        context["aws:SourceVpce"] = caller.vpc_endpoint_id
        context["aws:VpcSourceIp"] = caller.source_ip
    else:
        context["aws:SourceIp"] = caller.source_ip
    if caller.user_agent:
        context["aws:UserAgent"] = caller.user_agent
    if caller.referer:
        context["aws:Referer"] = caller.referer
    if caller.kind == "anonymous":
        return context
    context["aws:PrincipalAccount"] = caller.account
    context["aws:PrincipalArn"] = caller.arn
    context["aws:PrincipalIsAWSService"] = "false"
    if caller.issued is not None:
        context["aws:TokenIssueTime"] = caller.issued.isoformat()
        context["aws:MultiFactorAuthPresent"] = "false"
    if caller.mfa is not None:
        context["aws:MultiFactorAuthPresent"] = "true"
        context["aws:MultiFactorAuthAge"] = str(int((now - caller.mfa).total_seconds()))
    if caller.instance_arn:
        context |= _instance_context(tx, caller, caller.instance_arn)
    context |= caller.federation
    if caller.source_identity:
        context["aws:SourceIdentity"] = caller.source_identity
    holder: Role | User | None = tx.get(Role, name=caller.role) if caller.role else None
    if caller.user:
        context["aws:username"] = caller.user
        holder = tx.get(User, name=caller.user)
    if caller.federator:
        holder = tx.get(User, name=caller.federator)
    if holder is not None and caller.kind != "federated":
        context["aws:PrincipalArn"] = holder.arn
    if holder is not None or caller.session_tags:
        # As IAM has it: keys that differ by case are one, and the session's own stands.
        own = without_tags(holder.tags, list(caller.session_tags)) if holder else {}
        tags = {**own, **caller.session_tags}
        context |= {f"aws:PrincipalTag/{key}": value for key, value in tags.items()}
    return context


def _instance_context(tx: Tx, caller: Caller, arn: str) -> dict[str, str | tuple[str, ...]]:
    """The condition keys of an instance's credentials: where they were issued. Requests cannot set them."""
    context: dict[str, str | tuple[str, ...]] = {"ec2:SourceInstanceARN": arn}
    if caller.role_delivery:
        context["ec2:RoleDelivery"] = caller.role_delivery
    first = primary_interface(tx, arn.rpartition("/")[2])
    if first is not None:
        context["aws:Ec2InstanceSourceVpc"] = first.vpc_id
        context["aws:Ec2InstanceSourcePrivateIPv4"] = first.private_ip
    return context


def _decided(tx: Tx, caller: Caller, policies: Policies, check: Check) -> Decision:
    root = caller.kind == "root"
    on_resource = () if root and check.action in ROOT_ALWAYS else resource_policies(tx, caller, check)
    if root and not on_resource and policies.endpoint is None:
        return Decision(True)
    held = replace(policies, resource=on_resource)
    return decide(held, check.action, check.resource, context_of(tx, caller, check))


def applies(statement: Statement, action: str, resource: str, keys: Keys) -> bool:
    """Whether a statement covers a request by action, resource and conditions; principals are checked elsewhere.

    Where tags whose keys differ by case leave several ways to read the request, a Deny applies if it does in one of
    them, an Allow only if it does in all: a further tag never gives more rights.
    """
    if not statement.covers(action):
        return False
    readings = [keys.single] if not keys.doubled else keys.readings(statement.keys)
    if readings is None:
        return not statement.allows
    found = (_holds(statement, resource, reading) for reading in readings)
    return all(found) if statement.allows else any(found)


def _holds(statement: Statement, resource: str, context: Context) -> bool:
    return _resource_applies(statement, resource, context) and all(
        condition.holds(context) for condition in statement.conditions
    )


def _resource_applies(statement: Statement, resource: str, context: Context) -> bool:
    resolve = resolver(context)
    if statement.resources is not None:
        return any(item.matches(resource, resolve) for item in statement.resources)
    excepted = statement.not_resources or ()
    if statement.allows and any(item.text(resolve) is None for item in excepted):
        # The exceptions to an Allow are not known: they must not be dropped.
        return False
    return not any(item.matches(resource, resolve) for item in excepted)


def _statements(documents: Iterable[PolicyDocument], *, allow: bool) -> Iterable[Statement]:
    return (statement for document in documents for statement in document.statements if statement.allows == allow)


def context_of(tx: Tx, caller: Caller, check: Check) -> dict[str, str | tuple[str, ...]]:
    """All condition keys of a check: of the caller, of the resource, and of what is asked for."""
    context = caller_context(tx, caller, tx.now) | of_resource(tx, caller, check.action, check.resource)
    context |= check.context or {}
    if check.action.startswith(("iam:", "sts:")) and (asked := context.get("aws:TagKeys")):
        # Keys that differ by case are one here: a request about `KEEP` is one about the tag `keep`.
        spelled = {key.lower() for key in asked}
        there = [key.partition("/")[2] for key in context if key.startswith("aws:ResourceTag/")]
        context["aws:TagKeys"] = (*asked, *(key for key in there if key.lower() in spelled and key not in asked))
    if check.action.startswith("iam:"):
        # IAM has one endpoint for all regions, which is in this one.
        context["aws:RequestedRegion"] = "us-east-1"
    return context
