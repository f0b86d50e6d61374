"""AWS's policy simulator, asked about a role or a user."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial

from skylift.client.errors import UsageError
from skylift.console import identity
from skylift.console.cloud_view import CloudView
from skylift.console.identity import Identities
from skylift.console.widgets.editor import TextArea
from skylift.console.widgets.element import box, button, copyable, link, tag
from skylift.console.widgets.field import Select
from skylift.console.widgets.frame import head
from skylift.console.widgets.small_table import small_table, state, table_row
from skylift.console.widgets.tabs import in_thread
from skylift.console.widgets.trouble import panel, trouble_in

_DECISIONS = {
    "allowed": "allowed",
    "explicitDeny": "denied: a policy says so",
    "implicitDeny": "not allowed: no policy allows it",
}
_WORDS = {"allowed": "succeeded", "explicitDeny": "failed", "implicitDeny": "waiting"}
_MOST = 100


class SimulatorPage:
    def __init__(self, view: CloudView, who: str) -> None:
        self._view, self._who = view, who

    async def show(self) -> None:
        head("Policy simulator")
        identities = Identities(self._view.port)
        with panel():
            roles = await in_thread(identities.roles)
            users = await in_thread(identities.users)
            arns = {each.arn: f"user {each.id}" for each in users} | {each.arn: f"role {each.id}" for each in roles}
            if not arns:
                tag("p", "There are no roles and no users to ask about.", "empty-line")
                link("Roles", "/roles")
                return
            if self._who in arns:
                arns = {self._who: arns[self._who], **arns}
            with box("form narrow"):
                chosen = Select("Who", dict(arns))
            Simulator(self._view, lambda: chosen.value)


class Simulator:
    """The question and its answer; `who` is an ARN."""

    def __init__(self, view: CloudView, who: Callable[[], str]) -> None:
        self._view, self._who = view, who
        with box("form narrow"):
            self._actions = TextArea("Actions, one a line", "s3:GetObject\ns3:PutObject\nec2:StopInstances", 4)
            self._resources = TextArea("Resources, one a line; without any it is *", "", 2)
            with box("buttons-left"):
                button("Ask", self._ask, "primary")
        self._answer = box("panel", role="status")

    async def _ask(self) -> None:
        actions, resources = split_words(self._actions.value), split_words(self._resources.value)
        with trouble_in(self._answer):
            if not actions:
                raise UsageError("Say which actions.", "They are like s3:GetObject, one a line.")
            if len(actions) > _MOST or len(resources) > _MOST:
                raise UsageError(f"These are more than {_MOST} at once.", "Ask about some of them.")
            found = await in_thread(Identities(self._view.port).simulate, self._who(), actions, resources)
            with self._answer.clear():
                show_verdicts(found)
                copyable(identity.simulate(self._who(), actions, resources).command)


def show_verdicts(found: list[tuple[str, ...]]) -> None:
    with small_table("Action", "Resource", "Answer", "By", "Open questions"):
        for action, resource, decision, policies, missing in found:
            answer = partial(state, _DECISIONS.get(decision, decision), _WORDS.get(decision, ""))
            table_row(action, resource, answer, policies or "–", missing or "–")


def split_words(text: str) -> list[str]:
    """What stands on lines, or between commas; each once."""
    return list(dict.fromkeys(filter(None, re.split(r"[\s,]+", text))))
