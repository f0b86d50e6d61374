"""Condition operators of IAM policies, as the IAM user guide's chapter on the Condition element defines them."""

from __future__ import annotations

import base64
import binascii
import ipaddress
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from itertools import product
from math import prod
from operator import eq, ge, gt, le, lt
from typing import Any

from skylift.cloud.services.api.pattern import Pattern, Resolve

Context = Mapping[str, tuple[str, ...]]
"""The request's keys in lower case, each with all its values."""

MOST_READINGS = 256

Test = Callable[[str, Pattern, Resolve], bool]

ALL = "ForAllValues"
ANY = "ForAnyValue"


@dataclass(frozen=True)
class Keys:
    """The condition keys of a request.

    Names of keys have no case, but tags have: `Env` and `env` on one resource are one key with two values, of which
    AWS says that a condition matches "either, but not both". `doubled` has all values of such keys.
    https://docs.aws.amazon.com/IAM/latest/UserGuide/access_tags.html#access_tags_control-tag-keys
    """

    single: Context
    doubled: Mapping[str, tuple[tuple[str, ...], ...]]

    def __contains__(self, key: str) -> bool:
        return key in self.single or key in self.doubled

    def readings(self, names: Iterable[str]) -> list[Context] | None:
        """Each way to read the request where only these keys matter; None where there are too many to try."""
        several = {name: self.doubled[name] for name in names if name in self.doubled}
        if prod(map(len, several.values())) > MOST_READINGS:
            return None
        return [{**self.single, **dict(zip(several, values, strict=True))} for values in product(*several.values())]


def normalised(context: Mapping[str, str | tuple[str, ...]]) -> Keys:
    """Keys compare without case; a key that is there with no value counts as absent."""
    found: dict[str, list[tuple[str, ...]]] = {}
    for key, value in context.items():
        values = found.setdefault(key.lower(), [])
        given = (value,) if isinstance(value, str) else value
        if given not in values:
            values.append(given)
    single = {key: values[0] for key, values in found.items() if len(values) == 1}
    return Keys(single, {key: tuple(values) for key, values in found.items() if len(values) > 1})


@dataclass(frozen=True)
class Condition:
    """One operator, one key, its values; `quantifier` is empty, ForAllValues or ForAnyValue."""

    operator: str
    quantifier: str
    if_exists: bool
    key: str
    values: tuple[Pattern, ...]

    def holds(self, context: Context) -> bool:
        found = context.get(self.key, ())
        resolve = resolver(context)
        if self.operator == "Null":
            return any(((value.text(resolve) or "").lower() == "true") != bool(found) for value in self.values)
        negated = self.operator in NEGATED
        if not found:
            return self._holds_without(negated)
        test = TESTS[NEGATED.get(self.operator, self.operator)]
        hits = [any(test(value, wanted, resolve) for wanted in self.values) for value in found]
        if self.quantifier == ALL:
            return all(hit != negated for hit in hits)
        if self.quantifier == ANY:
            return any(hit != negated for hit in hits)
        return any(hits) != negated

    def _holds_without(self, negated: bool) -> bool:
        """A request that lacks the key fulfils ForAllValues, IfExists and the negated operators."""
        if self.quantifier == ANY:
            return self.if_exists
        return self.quantifier == ALL or self.if_exists or negated


def parse_operator(text: str) -> tuple[str, str, bool] | None:
    """`ForAnyValue:StringLikeIfExists` to (operator, quantifier, if_exists); None when there is no such operator."""
    quantifier, colon, operator = text.rpartition(":")
    if colon and quantifier not in (ALL, ANY):
        return None
    if operator == "Null":
        return None if colon else (operator, "", False)
    bare = operator.removesuffix("IfExists")
    if bare not in TESTS and bare not in NEGATED:
        return None
    return bare, quantifier, bare != operator


def bad_value(operator: str, value: str) -> str | None:
    """Why an operator cannot compare with this value; None when it can. Values with variables are not known yet."""
    kind = NEGATED.get(operator, operator)
    if "${" in value:
        return None
    if kind == "IpAddress":
        return None if _network(value) else f"{value} is neither an IP address nor a CIDR block"
    if kind.startswith("Numeric"):
        return None if _number(value) is not None else f"{value} is not a number"
    if kind.startswith("Date"):
        return None if _date(value) else f"{value} is neither an ISO 8601 date nor epoch seconds"
    if kind in ("Bool", "Null"):
        return None if value.lower() in ("true", "false") else f"{value} is neither true nor false"
    return None


def resolver(context: Context) -> Resolve:
    def resolve(key: str) -> str | None:
        values = context.get(key.lower(), ())
        return values[0] if len(values) == 1 else None

    return resolve


def _text(compare: Callable[[str, str], bool]) -> Test:
    def test(value: str, wanted: Pattern, resolve: Resolve) -> bool:
        text = wanted.text(resolve)
        return text is not None and compare(value, text)

    return test


def _parsed(parse: Callable[[str], Any], compare: Callable[[Any, Any], bool]) -> Test:
    """Both sides have to make sense; a comparison with what does not is False."""

    def test(value: str, wanted: Pattern, resolve: Resolve) -> bool:
        text = wanted.text(resolve)
        left, right = parse(value), None if text is None else parse(text)
        return left is not None and right is not None and compare(left, right)

    return test


def _number(text: str) -> Decimal | None:
    """Digits as people write them: Python would read `1_0` and digits of any script, too."""
    if not re.fullmatch(r"\s*[-+0-9.eE]+\s*", text):
        return None
    try:
        number = Decimal(text)
    except InvalidOperation:
        return None
    return number if number.is_finite() else None


def _date(text: str) -> datetime | None:
    try:
        if re.fullmatch(r"\d+(\.\d+)?", text) and not re.fullmatch(r"\d{4}", text):
            return datetime.fromtimestamp(float(text), UTC)
        date = datetime.fromisoformat(f"{text}-01-01" if re.fullmatch(r"\d{4}", text) else text)
    except (ValueError, OverflowError, OSError):
        return None
    return date if date.tzinfo else date.replace(tzinfo=UTC)


def _binary(text: str) -> bytes | None:
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error:
        return None


def _network(text: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network | None:
    try:
        return ipaddress.ip_network(text, strict=False)
    except ValueError:
        return None


def _in_network(value: str, wanted: Pattern, resolve: Resolve) -> bool:
    text = wanted.text(resolve)
    network = None if text is None else _network(text)
    try:
        return network is not None and ipaddress.ip_address(value) in network
    except ValueError:
        return False


def _no_case(left: str, right: str) -> bool:
    """Character by character: `ß` is not `ss`, which folding would make of it."""
    return left.lower() == right.lower()


TESTS: dict[str, Test] = {
    "StringEquals": _text(eq),
    "StringEqualsIgnoreCase": _text(_no_case),
    "StringLike": lambda value, wanted, resolve: wanted.matches(value, resolve),
    "NumericEquals": _parsed(_number, eq),
    "NumericLessThan": _parsed(_number, lt),
    "NumericLessThanEquals": _parsed(_number, le),
    "NumericGreaterThan": _parsed(_number, gt),
    "NumericGreaterThanEquals": _parsed(_number, ge),
    "DateEquals": _parsed(_date, eq),
    "DateLessThan": _parsed(_date, lt),
    "DateLessThanEquals": _parsed(_date, le),
    "DateGreaterThan": _parsed(_date, gt),
    "DateGreaterThanEquals": _parsed(_date, ge),
    "Bool": _text(_no_case),
    "BinaryEquals": _parsed(_binary, eq),
    "IpAddress": _in_network,
    "ArnEquals": lambda value, wanted, resolve: wanted.matches_arn(value, resolve),
    "ArnLike": lambda value, wanted, resolve: wanted.matches_arn(value, resolve),
}

NEGATED = {
    "StringNotEquals": "StringEquals",
    "StringNotEqualsIgnoreCase": "StringEqualsIgnoreCase",
    "StringNotLike": "StringLike",
    "NumericNotEquals": "NumericEquals",
    "DateNotEquals": "DateEquals",
    "NotIpAddress": "IpAddress",
    "ArnNotEquals": "ArnEquals",
    "ArnNotLike": "ArnLike",
}
