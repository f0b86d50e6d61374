"""May the caller do this? The policy evaluator, and the question as each service asks and answers it.

Evaluation follows the IAM user guide's "Policy evaluation logic" for one account: an explicit deny wins over
everything; otherwise the identity's own policies, its permissions boundary and its session policies must each allow.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

from skylift.cloud.error import ServiceError
from skylift.cloud.identity import Caller, ManagedPolicy, Role
from skylift.cloud.services.aws_policy import AWS_POLICIES
from skylift.cloud.services.condition import Context, resolver
from skylift.cloud.services.operation import Check
from skylift.cloud.services.policy_document import PolicyDocument, Statement, parse_policy
from skylift.cloud.store.database import Tx


@dataclass(frozen=True)
class Policies:
    """What bears on one caller. `boundary` None: there is none; `session` None: the session was not narrowed."""

    identity: tuple[PolicyDocument, ...] = ()
    boundary: PolicyDocument | None = None
    session: tuple[PolicyDocument, ...] | None = None

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
        if any(_applies(statement, action, resource, keys) for statement in _statements(documents, allow=False)):
            article = "an" if name[0] in "aeiou" else "a"
            return Decision(False, f"with an explicit deny in {article} {name}")
    for name, documents in groups:
        if not any(_applies(statement, action, resource, keys) for statement in _statements(documents, allow=True)):
            return Decision(False, f"because no {name} allows the {action} action")
    return Decision(True)


def authorize(tx: Tx, caller: Caller, checks: Iterable[Check], *, service: str) -> None:
    """Raise the denial of `service` for the first check that the caller's policies do not allow.

    UnauthorizedOperation (403) of EC2, AccessDenied (403) of every other service.
    """
    if caller.kind == "root":
        return
    policies = gather(tx, caller)
    for check in checks:
        decision = decide(policies, check.action, check.resource, _context(tx, caller, check))
        if not decision.allowed:
            raise denial(caller, check, decision, service)


def permits(tx: Tx, caller: Caller, check: Check) -> Decision:
    """The decision on one check, for operations that answer item by item."""
    if caller.kind == "root":
        return Decision(True)
    return decide(gather(tx, caller), check.action, check.resource, _context(tx, caller, check))


def denial(caller: Caller, check: Check, decision: Decision, service: str) -> ServiceError:
    on = "" if check.resource == "*" else f" on resource: {check.resource}"
    sentence = f"User: {caller.arn} is not authorized to perform: {check.action}{on} {decision.why}"
    if service == "ec2":
        return ServiceError(
            "UnauthorizedOperation", f"You are not authorized to perform this operation. {sentence}", status=403
        )
    return ServiceError("AccessDenied", sentence, status=403)


def gather(tx: Tx, caller: Caller) -> Policies:
    """The caller's policies as they are now: a change has effect on the next request."""
    role = tx.get(Role, name=caller.role) if caller.role else None
    if role is None:
        return Policies()
    attached = [document for arn in role.attached if (document := managed_document(tx, arn)) is not None]
    boundary: PolicyDocument | None = None
    if role.permissions_boundary:
        # A boundary that is gone allows nothing, rather than everything.
        found = managed_document(tx, role.permissions_boundary)
        boundary = PolicyDocument("", ()) if found is None else parse_policy(found)
    session = tuple(parse_policy(text) for text in caller.session_policies) or None
    identity = tuple(parse_policy(text) for text in (*role.inline.values(), *attached))
    return Policies(identity, boundary, session)


def managed_document(tx: Tx, arn: str) -> str | None:
    """The text of a managed policy's default version; None when there is no such policy."""
    policy = AWS_POLICIES.get(arn) or tx.get(ManagedPolicy, arn=arn)
    return policy.versions[policy.default_version].document if policy else None


def caller_context(tx: Tx, caller: Caller, now: datetime) -> dict[str, str | tuple[str, ...]]:
    """The global condition keys of a request, as the IAM user guide names them."""
    context: dict[str, str | tuple[str, ...]] = {
        "aws:CurrentTime": now.isoformat(),
        "aws:EpochTime": str(int(now.timestamp())),
        "aws:PrincipalAccount": caller.account,
        "aws:PrincipalArn": caller.arn,
        "aws:PrincipalType": "Account" if caller.kind == "root" else "AssumedRole",
        "aws:RequestedRegion": caller.region,
        "aws:ResourceAccount": caller.account,
        "aws:SecureTransport": "true" if caller.secure else "false",
        "aws:SourceIp": caller.source_ip,
        "aws:userid": caller.user_id,
        "aws:ViaAWSService": "false",
    }
    if caller.instance_arn:
        context["ec2:SourceInstanceARN"] = caller.instance_arn
    role = tx.get(Role, name=caller.role) if caller.role else None
    if role is not None:
        context["aws:PrincipalArn"] = role.arn
        context |= {f"aws:PrincipalTag/{key}": value for key, value in role.tags.items()}
    return context


def normalised(context: Mapping[str, str | tuple[str, ...]]) -> Context:
    """Keys compare without case; a key that is there with no value counts as absent."""
    return {key.lower(): (value,) if isinstance(value, str) else value for key, value in context.items()}


def action_applies(statement: Statement, action: str) -> bool:
    name = action.lower()
    if statement.actions is not None:
        return any(item.matches(name, _nothing) for item in statement.actions)
    return not any(item.matches(name, _nothing) for item in statement.not_actions or ())


def _applies(statement: Statement, action: str, resource: str, context: Context) -> bool:
    return (
        action_applies(statement, action)
        and _resource_applies(statement, resource, context)
        and all(condition.holds(context) for condition in statement.conditions)
    )


def _resource_applies(statement: Statement, resource: str, context: Context) -> bool:
    resolve = resolver(context)
    if statement.resources is not None:
        return any(item.matches(resource, resolve) for item in statement.resources)
    return not any(item.matches(resource, resolve) for item in statement.not_resources or ())


def _statements(documents: Iterable[PolicyDocument], *, allow: bool) -> Iterable[Statement]:
    return (statement for document in documents for statement in document.statements if statement.allows == allow)


def _context(tx: Tx, caller: Caller, check: Check) -> dict[str, str | tuple[str, ...]]:
    return {**caller_context(tx, caller, tx.now), **(check.context or {})}


def _nothing(_: str) -> None:
    return None
