"""Policies of IAM, and their statements."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

Words = str | Sequence[str]


def policy(*statements: dict[str, Any]) -> dict[str, Any]:
    return {"Version": "2012-10-17", "Statement": [*statements]}


def allow(
    sid: str, action: Words, resource: Words, condition: dict[str, Any] | None = None, effect: str = "Allow"
) -> dict[str, Any]:
    """The statement that these actions are allowed on these resources, under all of the conditions."""
    found = {"Sid": sid, "Effect": effect, "Action": action, "Resource": resource}
    return found if condition is None else {**found, "Condition": condition}


def deny(sid: str, action: Words, resource: Words) -> dict[str, Any]:
    return allow(sid, action, resource, effect="Deny")
