"""The policy simulator: the evaluator of real requests, asked without one.

It answers per action and resource: the decision, which statements of which policies decided, where these stand in the
policy's text, and which condition keys the question left open.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from skylift.cloud.domain.identity import Caller, Group, Role, User
from skylift.cloud.services.api.authorize import Policies, decide, managed_document
from skylift.cloud.services.api.condition import normalised
from skylift.cloud.services.api.iam_rules import invalid_input, no_such, page_of
from skylift.cloud.services.api.policy_document import PolicyDocument, Statement, parse_policy
from skylift.cloud.services.iam.operation import PAGES, on_arn, reads
from skylift.cloud.services.iam.policy import existing
from skylift.cloud.services.iam.statement_position import Span, statement_spans
from skylift.cloud.store.database import Tx

if TYPE_CHECKING:
    from aws_shapes import iam

    Asked = (
        iam.SimulatePrincipalPolicyRequest
        | iam.SimulateCustomPolicyRequest
        | iam.GetContextKeysForPrincipalPolicyRequest
        | iam.GetContextKeysForCustomPolicyRequest
    )
TAKES = "PolicyInputList PermissionsBoundaryPolicyInputList ActionNames ResourceArns ContextEntries"

Context = dict[str, str | tuple[str, ...]]


IDENTITY, BOUNDARY = "IAM Policy", "Permissions Boundary Policy"
"""The kinds of policies as AWS answers them, whatever its model enumerates.

https://github.com/cloud-custodian/cloud-custodian/tree/main/tests/data/placebo/test_lambda_check_permission
"""


@dataclass(frozen=True)
class Source:
    """One policy by the name and kind that the answer gives it."""

    id: str
    type: str
    text: str

    @cached_property
    def document(self) -> PolicyDocument:
        return parse_policy(self.text)

    @cached_property
    def spans(self) -> list[Span]:
        return statement_spans(self.text)


def of_principal(tx: Tx, _caller: Caller, params: iam.SimulatePrincipalPolicyRequest) -> iam.SimulatePolicyResponse:
    """As if the user, group or role that `PolicySourceArn` names asked."""
    holder = _holder(tx, params["PolicySourceArn"])
    boundary = None if isinstance(holder, Group) else _boundary(tx, holder)
    return _simulated(params, [*_sources(tx, holder), *_given(params)], boundary, _known_of(holder))


def of_documents(_tx: Tx, _caller: Caller, params: iam.SimulateCustomPolicyRequest) -> iam.SimulatePolicyResponse:
    """As if a caller with the policies in `PolicyInputList` asked."""
    return _simulated(params, _given(params), None, {})


def keys_of_principal(
    tx: Tx, _caller: Caller, params: iam.GetContextKeysForPrincipalPolicyRequest
) -> iam.GetContextKeysForPolicyResponse:
    """The condition keys that the policies of a user, group or role ask for, and those of policies given in the
    request.
    """
    return _keys([*_sources(tx, _holder(tx, params["PolicySourceArn"])), *_given(params)])


def keys_of_documents(
    _tx: Tx, _caller: Caller, params: iam.GetContextKeysForCustomPolicyRequest
) -> iam.GetContextKeysForPolicyResponse:
    return _keys(_given(params))


def _keys(sources: list[Source]) -> iam.GetContextKeysForPolicyResponse:
    conditions = (
        condition
        for source in sources
        for statement in source.document.statements
        for condition in statement.conditions
    )
    return {"ContextKeyNames": sorted({condition.key for condition in conditions})}


def _simulated(
    params: iam.SimulateCustomPolicyRequest | iam.SimulatePrincipalPolicyRequest,
    sources: list[Source],
    boundary: Source | None,
    known: Context,
) -> iam.SimulatePolicyResponse:
    given = params.get("PermissionsBoundaryPolicyInputList", [])
    if len(given) > 1:
        raise invalid_input("PermissionsBoundaryPolicyInputList takes one policy.")
    # A boundary that is given stands in for the one that the principal has.
    boundary = Source("PermissionsBoundaryPolicyInputList.1", BOUNDARY, given[0]) if given else boundary
    policies = Policies(tuple(source.document for source in sources), boundary.document if boundary else None)
    # A context entry of the request replaces a known value, in whatever case its key is written.
    context = {**{key.lower(): value for key, value in known.items()}, **_context(params.get("ContextEntries", []))}
    questions = [
        (action, resource) for action in params["ActionNames"] for resource in params.get("ResourceArns") or ["*"]
    ]
    numbered, more = page_of(params, list(enumerate(questions)), lambda item: f"{item[0]:09d}")
    answers = [_answer(policies, sources, boundary, action, resource, context) for _, (action, resource) in numbered]
    return {"EvaluationResults": answers, **more}


def _answer(
    policies: Policies, sources: list[Source], boundary: Source | None, action: str, resource: str, context: Context
) -> iam.EvaluationResult:
    """A denial by the boundary is shown beside what it denies."""
    decision = decide(policies, action, resource, context)
    denied = "explicit deny" in decision.why
    matched = [one for source in sources for one in _matched(source, action, resource, context, allows=False)]
    if not matched:
        matched = [one for source in sources for one in _matched(source, action, resource, context, allows=True)]
    if boundary is not None:
        matched += _matched(boundary, action, resource, context, allows=False)
    answer: iam.EvaluationResult = {
        "EvalActionName": action,
        "EvalResourceName": resource,
        "EvalDecision": "allowed" if decision.allowed else "explicitDeny" if denied else "implicitDeny",
        "MatchedStatements": matched,
        "MissingContextValues": _open_keys(sources, action, context),
    }
    if policies.boundary is not None:
        bounded = decide(Policies((policies.boundary,)), action, resource, context)
        answer["PermissionsBoundaryDecisionDetail"] = {"AllowedByPermissionsBoundary": bounded.allowed}
    return answer


def _matched(source: Source, action: str, resource: str, context: Context, *, allows: bool) -> list[iam.Statement]:
    """The statements that allow, or those that deny."""
    return [
        {
            "SourcePolicyId": source.id,
            "SourcePolicyType": source.type,
            "StartPosition": {"Line": span.start.line, "Column": span.start.column},
            "EndPosition": {"Line": span.end.line, "Column": span.end.column},
        }
        for statement, span in zip(source.document.statements, source.spans, strict=True)
        if statement.allows == allows and _settles(statement, action, resource, context)
    ]


def _settles(statement: Statement, action: str, resource: str, context: Context) -> bool:
    """Whether a statement by itself decides this question."""
    alone = decide(Policies((PolicyDocument("", (statement,)),)), action, resource, context)
    return alone.allowed or "explicit deny" in alone.why


def _open_keys(sources: list[Source], action: str, context: Context) -> list[str]:
    known = normalised(context)
    found = (
        condition.key
        for source in sources
        for statement in source.document.statements
        if statement.covers(action)
        for condition in statement.conditions
    )
    return sorted({key for key in found if key not in known})


def _context(entries: Iterable[iam.ContextEntry]) -> Context:
    context: Context = {}
    for entry in entries:
        if not entry.get("ContextKeyName"):
            raise invalid_input("A context entry has no ContextKeyName.")
        context[entry["ContextKeyName"].lower()] = tuple(entry.get("ContextKeyValues", []))
    return context


def _holder(tx: Tx, arn: str) -> User | Group | Role:
    found = tx.get(User, arn=arn) or tx.get(Group, arn=arn) or tx.get(Role, arn=arn)
    if found is None:
        raise no_such(f"policy source {arn}")
    return found


def _boundary(tx: Tx, holder: User | Role) -> Source | None:
    """One that is gone allows nothing."""
    arn = holder.permissions_boundary
    if not arn:
        return None
    text = managed_document(tx, arn)
    return Source("", BOUNDARY, _NOTHING) if text is None else Source(existing(tx, arn).name, BOUNDARY, text)


_NOTHING = '{"Statement": {"Effect": "Allow", "NotAction": "*", "Resource": "*"}}'


def _known_of(holder: User | Group | Role) -> Context:
    """A user asks as itself, so that its name and tags are known."""
    if not isinstance(holder, User):
        return {}
    tags: Context = {f"aws:PrincipalTag/{key}": value for key, value in holder.tags.items()}
    return {"aws:username": holder.name, "aws:userid": holder.id, "aws:PrincipalArn": holder.arn, **tags}


def _sources(tx: Tx, holder: User | Group | Role) -> list[Source]:
    kind = type(holder).__name__.lower()
    found = [Source(f"{kind}_{holder.name}_{name}", IDENTITY, text) for name, text in sorted(holder.inline.items())]
    for arn in holder.attached:
        text = managed_document(tx, arn)
        if text is not None:
            found.append(Source(existing(tx, arn).name, IDENTITY, text))
    if isinstance(holder, User):
        for name in holder.groups:
            group = tx.get(Group, name=name)
            found += _sources(tx, group) if group else []
    return found


def _given(params: Asked) -> list[Source]:
    return [
        Source(f"PolicyInputList.{number}", IDENTITY, text)
        for number, text in enumerate(params.get("PolicyInputList", []), start=1)
    ]


ON_SOURCE = on_arn("PolicySourceArn")

OPERATIONS = (
    ON_SOURCE.reads("SimulatePrincipalPolicy", of_principal, f"{TAKES} {PAGES}"),
    reads("SimulateCustomPolicy", of_documents, f"{TAKES} {PAGES}"),
    ON_SOURCE.reads("GetContextKeysForPrincipalPolicy", keys_of_principal, "PolicyInputList"),
    reads("GetContextKeysForCustomPolicy", keys_of_documents, "PolicyInputList"),
)
