"""The bounds of models that shape.py does not look at: longest, largest, patterns and enumerations.

IAM, STS and the JSON services refuse such input before their own code sees it, with one sentence per violation.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from typing import Any, cast

from skylift.cloud.domain.error import ServiceError
from skylift.cloud.wire.shape import ListShape, Problem, Shape, Structure, problems
from skylift.cloud.wire.unreadable import Unreadable

# The models' patterns are Java's. Python has no \\p classes, but the same sets: the models use letters and numbers only
# together with the underscore, which is what \\w adds to them. What lies above 16 bits Java writes as two surrogates.
_JAVA_CLASSES = {
    r"\p{L}": r"\w",
    r"\p{N}": r"\w",
    r"\uD800\uDC00-\uDBFF\uDFFF": r"\U00010000-\U0010FFFF",
    r"\p{Z}": " \u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000",
}

UNFIT = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")
"""Characters that XML 1.0 cannot contain, not even as a reference (its production 2, Char)."""


def unfit(params: Any, path: str = "") -> Iterator[str]:
    """The paths of texts that XML cannot hold: no client could read a listing with them."""
    match params:
        case str():
            if UNFIT.search(params):
                yield path
        case dict():
            for name, value in params.items():
                yield from unfit(name, path)
                yield from unfit(value, f"{path}.{name}" if path else name)
        case list():
            for number, item in enumerate(params, 1):
                yield from unfit(item, f"{path}.{number}")


def violations(params: Any, shape: Shape, path: str = "") -> Iterator[str]:
    """Each violation as AWS words it: `Value 'x' at 'roleName' failed to satisfy constraint: ...`."""
    match shape.type_name:
        case "structure":
            for name, value in params.items():
                inner = f"{path}.{_lower(name)}" if path else _lower(name)
                yield from violations(value, cast(Structure, shape).members[name], inner)
        case "list":
            yield from _too_many(params, shape, path)
            for number, item in enumerate(params, 1):
                yield from violations(item, cast(ListShape, shape).member, f"{path}.{number}.member")
        case "string":
            yield from _string(params, shape, path)
        case "integer" | "long":
            largest = shape.metadata.get("max")
            if largest is not None and params > largest:
                yield _failed(params, path, f"Member must have value less than or equal to {largest}")


def require_fit(params: Any) -> None:
    """Raises Unreadable."""
    for path in unfit(params):
        raise Unreadable("it has a control character, or another that XML cannot hold", path)


def require_valid(params: Any, shape: Structure | None, code: str) -> None:
    """Raises ServiceError with this code and all faults of the parameters, in AWS's words."""
    if shape is None:
        return
    found = [*map(_described, problems(params, shape)), *violations(params, shape)]
    if found:
        errors = f"{len(found)} validation error{'s' if len(found) > 1 else ''} detected"
        raise ServiceError(code, f"{errors}: {'; '.join(found)}")


def _described(problem: Problem) -> str:
    """A finding of `problems` in the same words."""
    path = ".".join(_lower(part) for part in problem.path.split("."))
    match problem.kind:
        case "missing":
            return f"Value null at '{path}' failed to satisfy constraint: Member must not be null"
        case "length":
            rule = f"Member must have length greater than or equal to {problem.minimum}"
        case "range":
            rule = f"Member must have value greater than or equal to {problem.minimum}"
        case "union":
            rule = "Exactly one member must be set"
        case _:
            rule = "Member is not of the right type"
    return _failed(problem.value, path, rule)


def _string(text: str, shape: Shape, path: str) -> Iterator[str]:
    metadata = shape.metadata
    # A password or a token is not repeated.
    shown = None if metadata.get("sensitive") else text
    longest = metadata.get("max")
    if longest is not None and len(text) > longest:
        yield _failed(shown, path, f"Member must have length less than or equal to {longest}")
    pattern = metadata.get("pattern")
    if pattern is not None and not _compiled(pattern).fullmatch(text):
        yield _failed(shown, path, f"Member must satisfy regular expression pattern: {pattern}")
    allowed = metadata.get("enum")
    if allowed and text not in allowed:
        yield _failed(shown, path, f"Member must satisfy enum value set: [{', '.join(allowed)}]")


def _too_many(items: Any, shape: Shape, path: str) -> Iterator[str]:
    longest = shape.metadata.get("max")
    if longest is not None and len(items) > longest:
        yield _failed(items, path, f"Member must have length less than or equal to {longest}")


def _failed(value: Any, path: str, rule: str) -> str:
    shown = "" if value is None else f" '{value}'"
    return f"Value{shown} at '{path}' failed to satisfy constraint: {rule}"


def _lower(name: str) -> str:
    return name[:1].lower() + name[1:]


@cache
def _compiled(pattern: str) -> re.Pattern[str]:
    for java, ours in _JAVA_CLASSES.items():
        pattern = pattern.replace(java, ours)
    return re.compile(pattern)
