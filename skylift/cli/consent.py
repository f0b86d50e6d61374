"""The user's consent to what a project's `[tool.skylift]` asks for: once on a terminal, or by --trust-project."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from skylift.cli.say import say

if TYPE_CHECKING:
    from collections.abc import Sequence

    from skylift.cli.preset import Preset
    from skylift.client.job.run_options import SharedOptions
    from skylift.client.plan.consent import Question

PRESETS = "skylift.presets"
"""The key in a command's context of the values from `[tool.skylift]`."""


def require_consent(context: Any, options: SharedOptions) -> bool:
    """Whether results spare what git tracks: a table has asked for them, and the user has not agreed to that. Raises
    UsageError when the user has not agreed to a value that is about to be used."""
    from skylift.client.plan.consent import asks_of, may_replace, require
    from skylift.place.settings import consents

    found: dict[str, Preset] = context.meta.get(PRESETS, {})
    counting = [each for name, each in found.items() if context.get_parameter_source(name).name == "DEFAULT_MAP"]
    billed = (options.get("on") or "local") != "local"
    asks = [ask for each in counting for ask in asks_of(each.table, [each.key], Path.cwd(), billed=billed)]
    if options.get("trust_project"):
        return False
    require(asks, consents(), _ask if sys.stdin.isatty() and sys.stderr.isatty() else None)
    return any(each.key == "out" for each in counting) and not may_replace(asks)


def _ask(asks: Sequence[Question]) -> bool:
    from skylift.client.plan.consent import NEEDED

    say(NEEDED, *(f"  {each.spell()}" for each in asks), to_stderr=True)
    return bool(typer.confirm("Go on, and remember it until it changes?", default=False, err=True))
