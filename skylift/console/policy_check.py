"""What is wrong with a policy, before AWS is asked: JSON first, then the words that a policy is made of."""

from __future__ import annotations

import json
import re
from typing import Any

VERSIONS = ("2012-10-17", "2008-10-17")
_TOP = ("Version", "Id", "Statement")
_PARTS = ("Sid", "Effect", "Principal", "NotPrincipal", "Action", "NotAction", "Resource", "NotResource", "Condition")
_ACTION = re.compile(r"\*|[A-Za-z0-9-]+:[A-Za-z0-9*?]+")
_RESOURCE = re.compile(r"\*|arn:[^:]*:[^:]*:[^:]*:[^:]*:.+", re.DOTALL)
_LARGEST = 1 << 20


class _Twice(ValueError):
    pass


def check_policy(text: str, *, trust: bool = False) -> list[str]:
    """What has to be mended, in words; nothing where it can be saved. A trust policy says who may take a role: it has
    principals, and no resources. AWS has the last word when it is saved."""
    if len(text) > _LARGEST:
        return ["It is longer than any policy may be."]
    try:
        found = json.loads(text, object_pairs_hook=_once)
    except json.JSONDecodeError as error:
        return [f"Line {error.lineno}, column {error.colno}: this is not JSON: {error.msg}."]
    except _Twice as error:
        return [f"{error} is there twice in one object."]
    except (ValueError, RecursionError):
        return ["This is not JSON that can be read."]
    if not isinstance(found, dict):
        return ["A policy is an object: it begins with { and ends with }."]
    complaints = [f"{_quoted(key)} is not a part of a policy." for key in found if key not in _TOP]
    if found.get("Version", VERSIONS[0]) not in VERSIONS:
        complaints.append(f'Version is "{VERSIONS[0]}".')
    statements = found.get("Statement")
    if isinstance(statements, dict):
        statements = [statements]
    if not isinstance(statements, list) or not statements:
        return [*complaints, "Statement is missing: a list of what is allowed or denied."]
    sids = [each["Sid"] for each in statements if isinstance(each, dict) and isinstance(each.get("Sid"), str)]
    complaints += [f"The Sid {_quoted(each)} is there twice." for each in sorted(set(sids)) if sids.count(each) > 1]
    for number, each in enumerate(statements, 1):
        where = f"Statement {number}"
        wrong = _check_statement(each, trust=trust) if isinstance(each, dict) else ["it is not an object"]
        complaints += [f"{where}: {one}." for one in wrong]
    return complaints


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise _Twice(_quoted(key))
        found[key] = value
    return found


def _check_statement(each: dict[str, Any], *, trust: bool) -> list[str]:
    wrong = [f"{_quoted(key)} is not a part of it" for key in each if key not in _PARTS]
    if each.get("Effect") not in ("Allow", "Deny"):
        wrong.append('Effect is "Allow" or "Deny"')
    wrong += _one_of(each, "Action", "NotAction")
    if trust:
        wrong += _one_of(each, "Principal", "NotPrincipal")
        if "Resource" in each or "NotResource" in each:
            wrong.append("a trust policy has no Resource: the role itself is meant")
    else:
        wrong += _one_of(each, "Resource", "NotResource")
        if "Principal" in each or "NotPrincipal" in each:
            wrong.append("it has no Principal: whose policy it is, is known")
    for key, form, example in (
        ("Action", _ACTION, "s3:GetObject"),
        ("NotAction", _ACTION, "s3:GetObject"),
        ("Resource", _RESOURCE, "arn:aws:s3:::bucket/*"),
        ("NotResource", _RESOURCE, "arn:aws:s3:::bucket/*"),
    ):
        if key in each:
            wrong += _check_texts(key, each[key], form, example)
    condition = each.get("Condition", {})
    if not isinstance(condition, dict) or not all(isinstance(inner, dict) for inner in condition.values()):
        wrong.append('Condition is like {"StringEquals": {"aws:RequestedRegion": "us-east-1"}}')
    return wrong


def _one_of(each: dict[str, Any], *names: str) -> list[str]:
    there = [name for name in names if name in each]
    if len(there) == 1:
        return []
    return [f"{names[0]} is missing" if not there else f"it has {' and '.join(there)}, of which one is enough"]


def _check_texts(key: str, value: Any, form: re.Pattern[str], example: str) -> list[str]:
    texts = [value] if isinstance(value, str) else value
    if not isinstance(texts, list) or not texts or not all(isinstance(each, str) for each in texts):
        return [f'{key} is a text like "{example}", or a list of such texts']
    return [
        f"{key} {_quoted(each)} is not of the form {example}, nor *"
        for each in texts
        # A variable may stand for any part of it.
        if "${" not in each and not form.fullmatch(each)
    ]


def _quoted(text: str) -> str:
    return json.dumps(text if len(text) <= 80 else f"{text[:79]}…", ensure_ascii=False)
