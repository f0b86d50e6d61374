"""The policy of a POST upload: what its signer lets a form contain, and until when.

Source: "Creating a POST policy" (S3 API reference). Errors as recorded on AWS in `TestS3PresignedPost` of LocalStack's
tests/aws/services/s3/test_s3.snapshot.json.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from skylift.cloud.domain.error import ServiceError
from skylift.cloud.wire.body import too_large

# What a signature covers by itself, or what no condition can know.
_UNCONDITIONED = frozenset(("awsaccesskeyid", "file", "policy", "signature", "x-amz-signature"))
_MOMENT = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,6})?Z")
_NUMBER = re.compile("[0-9]{1,15}")


@dataclass(frozen=True)
class PostCondition:
    """`field` as the policy writes it: `$key`."""

    operator: str
    field: str
    value: str

    @property
    def about(self) -> str:
        """The field's name in small letters; empty where the policy names none."""
        return self.field[1:].lower() if self.field.startswith("$") else ""

    def holds(self, fields: Mapping[str, str]) -> bool:
        found = fields.get(self.about)
        if found is None:
            return False
        if self.operator == "eq":
            return found == self.value
        # A list of types is allowed if each of them is.
        listed = found.split(",") if self.about == "content-type" else [found]
        return all(each.strip().startswith(self.value) for each in listed)


@dataclass(frozen=True)
class PostPolicy:
    """`least` and `most` bound the size of the file, in bytes."""

    expiration: datetime
    conditions: tuple[PostCondition, ...]
    least: int = 0
    most: int | None = None

    def check(self, fields: Mapping[str, str], now: datetime) -> None:
        """Raises ServiceError unless the policy allows the form. `fields` by lower-case names, with `bucket`."""
        if now > self.expiration:
            raise refused("Policy expired.")
        for condition in self.conditions:
            if not condition.holds(fields):
                raise _failed(condition.operator, condition.field, condition.value)
        known = {condition.about for condition in self.conditions} | _UNCONDITIONED | {"bucket"}
        extra = sorted(name for name in fields if name not in known and not name.startswith("x-ignore-"))
        if extra:
            raise refused(f"Extra input fields: {', '.join(extra)}")

    def check_most(self, size: int) -> None:
        if self.most is not None and size > self.most:
            raise too_large(size, self.most)

    def check_least(self, size: int) -> None:
        if size < self.least:
            raise ServiceError(
                "EntityTooSmall",
                "Your proposed upload is smaller than the minimum allowed size",
                ProposedSize=str(size),
                MinSizeAllowed=str(self.least),
            )


def parse_policy(text: str) -> PostPolicy:
    """A policy as the form carries it: JSON in base64."""
    try:
        document = json.loads(base64.b64decode(text, validate=True))
    except (binascii.Error, ValueError, RecursionError):
        raise _invalid("Invalid JSON.") from None
    if not isinstance(document, dict):
        raise _invalid("Invalid JSON.")
    listed = document.get("conditions")
    if not isinstance(listed, list):
        raise _invalid("Policy missing conditions.")
    least, most, conditions = 0, None, []
    for each in listed:
        if isinstance(each, list) and len(each) == 3 and each[0] == "content-length-range":
            low, high = _range(each)
            least, most = max(least, low), high if most is None else min(most, high)
        else:
            conditions.append(_condition(each))
    return PostPolicy(_expiration(document.get("expiration")), tuple(conditions), least, most)


def refused(why: str) -> ServiceError:
    return ServiceError("AccessDenied", f"Invalid according to Policy: {why}", status=403)


def _expiration(given: object) -> datetime:
    if given is None:
        raise _invalid("Policy missing expiration.")
    if isinstance(given, str) and _MOMENT.fullmatch(given):
        try:
            return datetime.fromisoformat(given).astimezone(UTC)
        except (ValueError, OverflowError):
            pass
    raise _invalid(f"Invalid 'expiration' value: {_shown(given)}")


def _condition(given: object) -> PostCondition:
    """`{"key": "a"}`, `["eq", "$key", "a"]` or `["starts-with", "$key", "a"]`."""
    if isinstance(given, dict):
        if len(given) != 1:
            raise _invalid("Invalid Simple-Condition: Simple-Conditions must have exactly one property specified.")
        ((name, value),) = given.items()
        if not isinstance(value, str):
            raise _invalid("Invalid Simple-Condition: value must be a string.")
        return PostCondition("eq", f"${name}", value)
    match given:
        case [("eq" | "starts-with") as operator, str() as field, str() as value]:
            return PostCondition(operator, field, value)
    raise _invalid(f"Invalid Condition: {_shown(given)}")


def _range(given: list[object]) -> tuple[int, int]:
    found = [int(str(each)) for each in given[1:] if not isinstance(each, bool) and _NUMBER.fullmatch(str(each))]
    if len(found) != 2:
        raise _failed(*given)
    return found[0], found[1]


def _failed(*condition: object) -> ServiceError:
    return refused(f"Policy Condition failed: {_shown(list(condition))}")


def _invalid(why: str) -> ServiceError:
    return ServiceError("InvalidPolicyDocument", f"Invalid Policy: {why}")


def _shown(given: object) -> str:
    """Escaped, as JSON also is where it has half of a surrogate pair."""
    return json.dumps(given)
