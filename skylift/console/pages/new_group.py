"""A new security group with its first rules: for the page of the groups, and for a launch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from skylift.console.cloud_view import CloudView
from skylift.console.group_wish import KINDS, GroupWish
from skylift.console.vpc_plan import Making
from skylift.console.widgets.dialog import Dialog
from skylift.console.widgets.element import box, button, copyable, tag
from skylift.console.widgets.field import Field, Select
from skylift.console.widgets.tabs import in_thread

_MOST_RULES = 20


async def create_security_group(view: CloudView, *, done: Callable[[str, str, str], Any], vpc: str = "") -> None:
    """Ask for all that it needs, and make it. `done` gets its id, its name and its VPC; `vpc` is chosen at first.
    Raises SkyliftError."""
    vpcs = {each.id: f"{each.name} {each.id} ({each.cidr})".strip() for each in await in_thread(view.port.vpcs)}
    first = {vpc: vpcs[vpc]} if vpc in vpcs else {}
    _NewGroup(view, {**first, **vpcs}, done)


class _NewGroup:
    def __init__(self, view: CloudView, vpcs: dict[str, str], done: Callable[[str, str, str], Any]) -> None:
        self._view, self._done = view, done
        self._rules: list[_RuleFields] = []
        self._dialog = Dialog("Create security group", wide=True)
        with self._dialog:
            with box("bar rule-form"):
                self._name = Field("Name", self._changed, placeholder="web", spellcheck="false", autofocus="autofocus")
                self._description = Field("Description", self._changed, placeholder="as the name")
                self._vpc = Select("VPC", dict(vpcs), self._changed)
            tag("h3", "What comes in")
            self._list = box()
            with box("buttons-left"):
                button("Add rule", self._add, "quiet")
            self._shown = box(role="status")
        self._dialog.buttons("Create", self._work, done=self._finish)
        self._add()
        self._dialog.open()

    def _wish(self) -> GroupWish:
        return GroupWish(
            self._name.value.strip(),
            self._description.value.strip(),
            self._vpc.value,
            tuple(each.wish for each in self._rules),
        )

    def _add(self) -> None:
        if len(self._rules) < _MOST_RULES:
            with self._list:
                self._rules.append(_RuleFields(self._view, self._changed, self._remove))
            self._changed()

    def _remove(self, rule: _RuleFields) -> None:
        self._rules.remove(rule)
        rule.place.delete()
        self._changed()

    def _changed(self, _: str = "") -> None:
        wish = self._wish()
        missing = wish.missing()
        with self._shown.clear():
            for each in missing:
                tag("p", each, "missing")
            if not missing:
                copyable(Making(wish.steps()).command)

    def _work(self) -> None:
        self._wished = self._wish()
        self._made = self._wished.make(self._view.perform)

    def _finish(self) -> Any:
        self._view.security_groups.look_soon()
        return self._done(self._made, self._wished.name, self._wished.vpc)


class _RuleFields:
    """The first thing that a server needs is SSH."""

    def __init__(self, view: CloudView, changed: Callable[[str], Any], remove: Callable[[_RuleFields], Any]) -> None:
        self._view, self._changed = view, changed
        with box("bar rule-form") as self.place:
            self._kind = Select("Protocol", KINDS, changed)
            self._ports = Field("Ports", changed, value="22", spellcheck="false", size="11")
            self._other = Field("From", changed, placeholder="203.0.113.7/32 or sg-…", spellcheck="false")
            button("My address", self._fill, "quiet")
            button("Anywhere", lambda: self._take("0.0.0.0/0"), "quiet")
            button("Remove", lambda: remove(self), "quiet", aria_label="Remove rule")

    @property
    def wish(self) -> tuple[str, str, str]:
        return self._kind.value, self._ports.value, self._other.value

    async def _fill(self) -> None:
        """As a run finds it, which lets this machine in by SSH."""
        self._take(f"{await in_thread(self._view.port.own_address)}/32")

    def _take(self, other: str) -> None:
        self._other.set(other)
        self._changed(other)
