"""Policy documents: JSON text to statements that can be evaluated, or the error that says what is wrong with it.

The grammar is the IAM user guide's "Grammar of the IAM JSON policy language"; errors begin with AWS's own words and
go on with the place and the offending text.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any, Literal, NoReturn

from skylift.cloud.domain.error import ServiceError
from skylift.cloud.services.api.condition import Condition, bad_value, parse_operator
from skylift.cloud.services.api.pattern import Pattern, Variable, pattern

Kind = Literal["identity", "trust", "resource"]
"""What a document decides: what its holder may do, who may assume a role, or who may use its resource."""

VERSIONS = ("2008-10-17", "2012-10-17")
MOST_REMEMBERED = 1024

_STATEMENT_ELEMENTS = {
    "Sid",
    "Effect",
    "Principal",
    "NotPrincipal",
    "Action",
    "NotAction",
    "Resource",
    "NotResource",
    "Condition",
}
LONGEST_KEPT = 20_480
"""The most characters of a document that is kept in memory. No policy in force is longer, and a request's text is not
worth more.
"""
LONGEST_SHORT = 1024
MOST_SHORT, MOST_LONG = 1024, 256
"""The most documents that are kept: more than one caller may have. A user has ten managed policies and is in ten groups
that have ten each. Inline ones may be many where they are short: 5,120 characters for each group.
"""
_ALLOWED_TEXT = re.compile("[\t\n\r\x20-\xff]+")
_ACTION = re.compile(r"\*|[A-Za-z0-9-]+:[A-Za-z0-9*?]+")
_STS_ACTION = re.compile(r"sts:[A-Za-z0-9*?]+", re.IGNORECASE)
_PRINCIPAL_KINDS = ("AWS", "Service", "Federated", "CanonicalUser")
_AWS_PRINCIPAL = re.compile(
    r"\*|\d{12}|arn:[a-z-]+:iam::\d{12}:(root|(role|user)/\S+)|arn:[a-z-]+:sts::\d{12}:(assumed-role/\S+/|federated-user/)\S+"
    r"|A(ID|RO)A[A-Z0-9]{16,}(:\S+)?"
)
"""The last form is the unique id of a deleted principal: stored policies contain it, and requests cannot."""
_FEDERATED_PRINCIPAL = re.compile(
    r"(?:[A-Za-z0-9-]+\.)+[A-Za-z]{2,}|arn:[a-z-]+:iam::\d{12}:(?:saml|oidc)-provider/[!-~]+"
)
_CONDITION_KEY = re.compile(r"[A-Za-z0-9-]+:.+|(?:[A-Za-z0-9-]+\.)+[A-Za-z0-9-]+(?:/[!-9;-~]*)?:[\w-]+", re.ASCII)
"""A vendor's key, or an identity provider's: `issuer.example.com/realm:sub`."""
_SERVICE_PRINCIPAL = re.compile(r"[a-z0-9.-]+\.(amazonaws\.com(\.cn)?|aws\.internal|amazon\.com)")
"""AWS documents `api-service.dnssec.route53.aws.internal` and `alexa-appkit.amazon.com`."""


@dataclass(frozen=True)
class Principals:
    """The principals of a statement of a trust or resource policy, by kind; `*` in `AWS` is everybody."""

    aws: tuple[str, ...] = ()
    services: tuple[str, ...] = ()
    federated: tuple[str, ...] = ()
    canonical: tuple[str, ...] = ()


@dataclass(frozen=True)
class Statement:
    """`actions` are in lower case. Of each pair of elements (`actions`, `not_actions`) one is None."""

    sid: str
    allows: bool
    actions: tuple[Pattern, ...] | None
    not_actions: tuple[Pattern, ...] | None
    resources: tuple[Pattern, ...] | None
    not_resources: tuple[Pattern, ...] | None
    principals: Principals | None
    not_principals: Principals | None
    conditions: tuple[Condition, ...]

    def covers(self, action: str) -> bool:
        """Whether the statement is about an action. It is remembered: AWS's ReadOnlyAccess has 2,000 patterns."""
        name = action.lower()
        known = self._covered.get(name)
        if known is None:
            if len(self._covered) >= MOST_REMEMBERED:
                self._covered.clear()
            known = self._covered[name] = self._matches(name)
        return known

    @cached_property
    def keys(self) -> frozenset[str]:
        """The condition keys, in lower case, on which it depends whether the statement applies."""
        patterns = [*(self.resources or ()), *(self.not_resources or ())]
        patterns += [value for condition in self.conditions for value in condition.values]
        variables = (piece.key.lower() for each in patterns for piece in each.pieces if isinstance(piece, Variable))
        return frozenset((*variables, *(condition.key for condition in self.conditions)))

    @cached_property
    def _covered(self) -> dict[str, bool]:
        return {}

    def _matches(self, name: str) -> bool:
        if self.actions is not None:
            return any(item.matches(name, _nothing) for item in self.actions)
        return not any(item.matches(name, _nothing) for item in self.not_actions or ())


@dataclass(frozen=True)
class PolicyDocument:
    version: str
    statements: tuple[Statement, ...]


def parse_policy(text: str, kind: Kind = "identity") -> PolicyDocument:
    """The document, or ServiceError MalformedPolicyDocument. Without a `Version` it is of 2008-10-17, as on AWS."""
    if len(text) <= LONGEST_SHORT:
        return _parsed_short(text, kind)
    return _parsed_long(text, kind) if len(text) <= LONGEST_KEPT else _parse(text, kind)


def _parse(text: str, kind: Kind) -> PolicyDocument:
    if not _ALLOWED_TEXT.fullmatch(text):
        malformed("The document must contain only printable characters of Latin-1, and at least one.")
    content = _load(text)
    unknown = set(content) - {"Version", "Id", "Statement"}
    if unknown:
        _syntax(f"Unknown element {sorted(unknown)[0]!r}; a policy has Version, Id and Statement.")
    version = content.get("Version", VERSIONS[0])
    if version not in VERSIONS:
        _syntax(f"Version is {version!r}; it must be one of {', '.join(VERSIONS)}.")
    if not isinstance(content.get("Id", ""), str):
        _syntax("Id must be a string.")
    if kind == "resource" and "Statement" not in content:
        malformed("Missing required field Statement")
    listed = content.get("Statement")
    listed = [listed] if isinstance(listed, dict) else listed
    if not isinstance(listed, list) or not listed:
        _syntax("Statement must be an object or a list of objects, and not empty.")
    statements = tuple(_Reader(kind, version, number).read(item) for number, item in enumerate(listed, start=1))
    sids = [statement.sid for statement in statements if statement.sid]
    if len(sids) != len(set(sids)):
        repeated = next(sid for sid in sids if sids.count(sid) > 1)
        malformed(f"Statement IDs (SID) in a single policy must be unique; {repeated!r} is not.")
    return PolicyDocument(version, statements)


_parsed_short = lru_cache(maxsize=MOST_SHORT)(_parse)
"""Parsed once for all requests that it decides about."""
_parsed_long = lru_cache(maxsize=MOST_LONG)(_parse)


def _nothing(_: str) -> None:
    """Actions have no policy variables."""
    return


def document_size(text: str) -> int:
    """The length that AWS's quotas count: without white space."""
    return len(re.sub(r"\s", "", text))


def _load(text: str) -> dict[str, Any]:
    try:
        content = json.loads(
            text,
            object_pairs_hook=_without_repeats,
            # Numbers stay as they are written: conditions compare them as text and as numbers.
            parse_int=str,
            parse_float=str,
            parse_constant=lambda name: _syntax(f"{name} is not JSON."),
        )
    except json.JSONDecodeError as error:
        malformed(f"This policy contains invalid Json: {error.msg} at line {error.lineno}, column {error.colno}.")
    except RecursionError:
        malformed("This policy contains invalid Json: it is nested too deeply.")
    if not isinstance(content, dict):
        _syntax("A policy must be a JSON object.")
    return content


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A name that stands twice would be half ignored."""
    content = dict(pairs)
    if len(content) != len(pairs):
        names = [name for name, _ in pairs]
        _syntax(f"{next(name for name in names if names.count(name) > 1)!r} occurs twice in one object.")
    return content


def malformed(message: str) -> NoReturn:
    raise ServiceError("MalformedPolicyDocument", message, status=400)


def _syntax(message: str) -> NoReturn:
    malformed(f"Syntax errors in policy. {message}")


class _Reader:
    """Reads one statement; knows its number for the messages."""

    def __init__(self, kind: Kind, version: str, number: int) -> None:
        self._kind = kind
        self._variables = version == VERSIONS[1]
        self._place = f"Statement {number}"

    def read(self, item: Any) -> Statement:
        if not isinstance(item, dict):
            self._syntax("must be an object.")
        unknown = set(item) - _STATEMENT_ELEMENTS
        if unknown:
            self._syntax(f"has the unknown element {sorted(unknown)[0]!r}.")
        effect = item.get("Effect")
        if effect not in ("Allow", "Deny"):
            self._syntax(f"has the Effect {effect!r}; it must be 'Allow' or 'Deny'.")
        for one, other in (("Action", "NotAction"), ("Resource", "NotResource"), ("Principal", "NotPrincipal")):
            if one in item and other in item:
                self._syntax(f"has both {one} and {other}.")
        {"identity": self._require_identity, "trust": self._require_trust, "resource": self._require_resource}[
            self._kind
        ](item)
        return Statement(
            sid=self._sid(item),
            allows=effect == "Allow",
            actions=self._actions(item, "Action"),
            not_actions=self._actions(item, "NotAction"),
            resources=self._resources(item, "Resource"),
            not_resources=self._resources(item, "NotResource"),
            principals=self._principals(item, "Principal"),
            not_principals=self._principals(item, "NotPrincipal"),
            conditions=self._conditions(item.get("Condition", {})),
        )

    def _require_identity(self, item: dict[str, Any]) -> None:
        if "Principal" in item or "NotPrincipal" in item:
            malformed(f"Policy document should not specify a principal. {self._place} does.")
        if not (item.get("Action") or item.get("NotAction")):
            malformed(f"Policy statement must contain actions. {self._place} has none.")
        if not (item.get("Resource") or item.get("NotResource")):
            malformed(f"Policy statement must contain resources. {self._place} has none.")

    def _require_trust(self, item: dict[str, Any]) -> None:
        if "Resource" in item or "NotResource" in item:
            malformed(f"Has prohibited field Resource. {self._place} of a trust policy must not name resources.")
        if not (item.get("Principal") or item.get("NotPrincipal")):
            malformed(f"Missing required field Principal. {self._place} has none.")
        if not (item.get("Action") or item.get("NotAction")):
            malformed(f"Policy statement must contain actions. {self._place} has none.")
        for action in self._strings(item, "Action") + self._strings(item, "NotAction"):
            if not _STS_ACTION.fullmatch(action):
                malformed(f"AssumeRole policy may only specify STS AssumeRole actions. {self._place}: {action!r}.")

    def _require_resource(self, item: dict[str, Any]) -> None:
        for one, other in (("Principal", "NotPrincipal"), ("Action", "NotAction"), ("Resource", "NotResource")):
            if not (item.get(one) or item.get(other)):
                malformed(f"Missing required field {one}. {self._place} has none.")

    def _sid(self, item: dict[str, Any]) -> str:
        """A resource's own policy may have spaces and marks in it; those of S3's examples do."""
        sid = item.get("Sid", "")
        if not isinstance(sid, str):
            self._syntax("has a Sid that is not a string.")
        if self._kind != "resource" and not re.fullmatch(r"[0-9A-Za-z]*", sid):
            malformed(
                "Statement IDs (SID) must be alpha-numeric. Check that your input satisfies the regular expression "
                f"[0-9A-Za-z]*. {self._place} has {sid!r}."
            )
        return sid

    def _actions(self, item: dict[str, Any], element: str) -> tuple[Pattern, ...] | None:
        if element not in item:
            return None
        actions = self._strings(item, element)
        for action in actions:
            if not _ACTION.fullmatch(action):
                malformed(
                    "Actions/Conditions must be prefaced by a vendor, e.g., iam, sdb, ec2, etc. "
                    f"{self._place} has the {element} {action!r}."
                )
        return tuple(pattern(action.lower(), variables=False) for action in actions)

    def _resources(self, item: dict[str, Any], element: str) -> tuple[Pattern, ...] | None:
        if element not in item:
            return None
        resources = self._strings(item, element)
        for resource in resources:
            if resource != "*" and not resource.startswith("arn:"):
                malformed(f'Resource {resource} must be in ARN format or "*". ({self._place})')
        return tuple(pattern(resource, variables=self._variables) for resource in resources)

    def _principals(self, item: dict[str, Any], element: str) -> Principals | None:
        if element not in item:
            return None
        given = item[element]
        if given == "*":
            return Principals(aws=("*",))
        if not isinstance(given, dict):
            self._syntax(f'has a {element} that is neither "*" nor an object.')
        for kind in given:
            if kind not in _PRINCIPAL_KINDS:
                self._syntax(f"has the unknown kind of {element} {kind!r}.")
        for kind, shape in (("AWS", _AWS_PRINCIPAL), ("Service", _SERVICE_PRINCIPAL)):
            for name in self._strings(given, kind):
                if not shape.fullmatch(name):
                    malformed(f'Invalid principal in policy: "{kind.upper()}":"{name}" ({self._place})')
        federated = self._strings(given, "Federated")
        if self._kind == "trust" and not all(map(_FEDERATED_PRINCIPAL.fullmatch, federated)):
            malformed(f"Federated principals must be valid domain names or SAML metadata ARNs ({self._place})")
        canonical = self._strings(given, "CanonicalUser")
        return Principals(self._strings(given, "AWS"), self._strings(given, "Service"), federated, canonical)

    def _conditions(self, given: Any) -> tuple[Condition, ...]:
        if not isinstance(given, dict):
            self._syntax("has a Condition that is not an object.")
        conditions = []
        for written, keys in given.items():
            operator = parse_operator(written)
            if operator is None:
                self._syntax(f"has the unknown condition operator {written!r}.")
            if not isinstance(keys, dict) or not keys:
                self._syntax(f"has a {written} that is not an object of keys.")
            for key in keys:
                if not _CONDITION_KEY.fullmatch(key):
                    malformed(
                        "Actions/Conditions must be prefaced by a vendor, e.g., iam, sdb, ec2, etc. "
                        f"{self._place} has the condition key {key!r}."
                    )
                values = self._strings(keys, key)
                for value in values:
                    problem = bad_value(operator[0], value)
                    if problem:
                        self._syntax(f"has a {written} on {key} with a bad value: {problem}.")
                patterns = tuple(pattern(value, variables=self._variables) for value in values)
                conditions.append(Condition(*operator, key.lower(), patterns))
        return tuple(conditions)

    def _strings(self, item: dict[str, Any], element: str) -> tuple[str, ...]:
        """One value or a list of them, as text; JSON's true and false are the words."""
        given = item.get(element, [])
        listed = given if isinstance(given, list) else [given]
        if element in item and not listed:
            self._syntax(f"has an empty list as {element}.")
        words = [{True: "true", False: "false"}[value] if isinstance(value, bool) else value for value in listed]
        for word in words:
            if not isinstance(word, str):
                self._syntax(f"has something as {element} that is neither a string nor a list of strings.")
        return tuple(words)

    def _syntax(self, message: str) -> NoReturn:
        _syntax(f"{self._place} {message}")
