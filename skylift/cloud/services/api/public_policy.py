"""Which bucket policies are public, as S3 Block Public Access sees it."""

from __future__ import annotations

import re

from skylift.cloud.services.api.condition import Condition
from skylift.cloud.services.api.pattern import Pattern
from skylift.cloud.services.api.policy_document import PolicyDocument

_FIXED_KEYS = (
    "aws:sourcearn",
    "aws:sourceaccount",
    "aws:sourcevpc",
    "aws:sourcevpce",
    "aws:principalarn",
    "aws:principalaccount",
    "aws:userid",
    "s3:dataaccesspointaccount",
    "s3:dataaccesspointarn",
)
_EQUALS = ("StringEquals", "StringEqualsIgnoreCase", "StringLike", "ArnEquals", "ArnLike")


def is_public(document: PolicyDocument) -> bool:
    """Whether a policy lets in everybody, by the S3 user guide's "The meaning of public".

    A statement for everybody is not public where a condition ties it to fixed values of who or where the caller is.
    """
    return any(
        statement.allows
        and (statement.principals is None or "*" in statement.principals.aws)
        and not any(_ties_down(condition) for condition in statement.conditions)
        for statement in document.statements
    )


def spelled(pattern: Pattern) -> str:
    """A pattern as its policy spells it."""
    return "".join(piece if isinstance(piece, str) else f"${{{piece.key}}}" for piece in pattern.pieces)


def _ties_down(condition: Condition) -> bool:
    if condition.if_exists or condition.quantifier == "ForAllValues":
        return False
    # Whoever signs nothing has the user id `anonymous`.
    fixed = not any(re.search(r"(?i)[*?]|\$\{|^anonymous$", spelled(value)) for value in condition.values)
    if condition.key == "aws:sourceip" and condition.operator == "IpAddress":
        return fixed and not any(_widest(spelled(value)) for value in condition.values)
    return condition.key in _FIXED_KEYS and condition.operator in _EQUALS and fixed


def _widest(block: str) -> bool:
    """AWS calls address ranges wider than /8 (IPv4) or /32 (IPv6) public."""
    address, slash, length = block.partition("/")
    if not slash:
        return False
    return not length.isdigit() or int(length) < (32 if ":" in address else 8)
