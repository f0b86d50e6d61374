"""How a row of IAM is made."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from skylift.cloud.services.api.iam_rules import entity_context, request_tags
from skylift.cloud.services.api.operation import Check, Checks, Handler, Operation, Params, Rows

PAGES = "Marker MaxItems"


_ROWS = Rows("iam", "iam")
reads, writes = _ROWS.reads, _ROWS.writes


@dataclass(frozen=True)
class OnNoun:
    """Operations on the one thing that a parameter names, authorised on it: `check` gives the checks of an action."""

    parameter: str
    check: Callable[[str], Checks]

    def reads(self, name: str, handler: Handler, takes: str = "") -> Operation:
        return reads(name, handler, f"{self.parameter} {takes}", self.check(name))

    def writes(self, name: str, handler: Handler, takes: str = "") -> Operation:
        return writes(name, handler, f"{self.parameter} {takes}", self.check(name))


def on_arn(parameter: str) -> OnNoun:
    """Operations on what this parameter names by its ARN."""

    def check(action: str) -> Checks:
        return lambda _tx, _caller, params: [Check(f"iam:{action}", params[parameter], request_tags(params))]

    return OnNoun(parameter, check)


def checks_to_make(noun: str, arn: str, params: Params, tag: str = "") -> list[Check]:
    """What it takes to make one: with tags, the permission that tagging it later takes, too (`iam:TagNOUN`)."""
    actions = [f"iam:Create{noun}", *([tag or f"iam:Tag{noun}"] if params.get("Tags") else [])]
    return [Check(action, arn, entity_context(params, None)) for action in actions]
