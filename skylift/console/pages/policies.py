"""The policies of a role or a user: inline ones edited in place, managed ones attached and taken away."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial
from typing import TypeVar

from skylift.client.errors import SkyliftError, UsageError
from skylift.console.call import Call
from skylift.console.cloud_view import CloudView
from skylift.console.identity import Holder, Identities, UserPolicies, reflow, spell_document
from skylift.console.policy_check import check_policy
from skylift.console.stale_edit import EditedText, StaleEdit
from skylift.console.widgets.dialog import Dialog, ask
from skylift.console.widgets.editor import Editor
from skylift.console.widgets.element import box, button, copyable, tag, tell_trouble
from skylift.console.widgets.field import Field, suggest
from skylift.console.widgets.small_table import small_table, table_row
from skylift.console.widgets.tabs import in_thread
from skylift.console.widgets.trouble import say_trouble

Answer = TypeVar("Answer")

_NAME = re.compile(r"[\w+=,.@-]{1,128}", re.ASCII)
_BEGINNING = {
    "Version": "2012-10-17",
    "Statement": [
        {"Effect": "Allow", "Action": ["s3:GetObject", "s3:ListBucket"], "Resource": ["arn:aws:s3:::BUCKET*"]}
    ],
}


class PoliciesTab:
    def __init__(self, view: CloudView, holder: Holder) -> None:
        self._view, self._holder = view, holder
        self._identities = Identities(view.port)
        self._pressed, self._listed = 0, 0
        """How often another thing was to be shown, and how often the list was asked for."""
        self._lists = True
        """Whether the list is shown, or about to be."""

    async def show(self) -> None:
        self._place = box("panel")
        await self._go_back()

    async def _go_back(self) -> None:
        """To the list."""
        self._pressed += 1
        self._lists = True
        await self._fill()

    async def _refresh(self) -> None:
        """The list, where it is shown: something has changed in it. What somebody has begun to write stays."""
        if self._lists:
            await self._fill()

    async def _saved(self, pressed: int) -> None:
        """What was begun with that press. The list is shown in its place, unless somebody has gone on meanwhile."""
        if pressed == self._pressed:
            await self._go_back()
        else:
            await self._refresh()

    async def _fill(self) -> None:
        self._listed += 1
        listed = self._listed
        found: UserPolicies | SkyliftError
        try:
            found = await in_thread(self._identities.policies, self._holder)
        except SkyliftError as error:
            found = error
        # An answer may come when another look has begun, or when the list is no longer what is shown.
        if not self._lists or listed != self._listed:
            return
        with self._place.clear():
            if isinstance(found, SkyliftError):
                say_trouble(found)
                return
            with box("buttons-left"):
                button("Write a policy", self._write, "primary")
                button("Attach a policy", self._attach)
            if not found.inline and not found.attached:
                tag("p", f"This {self._holder.kind} has no policies: it may do nothing.", "empty-line")
            else:
                with small_table("Policy", "Kind", "Actions"):
                    for name in found.inline:
                        self._show_inline(name)
                    for name, arn in found.attached.items():
                        self._show_attached(name, arn)
            copyable(self._holder.call("list_{}_policies").command)
            copyable(self._holder.call("list_attached_{}_policies").command)

    def _show_inline(self, name: str) -> None:
        def actions() -> None:
            button("Edit", lambda: self._edit(name), "quiet", aria_label=f"Edit {name}")
            self._remove_button("Delete", name, [name], self._holder.delete_policy(name))

        table_row(name, "inline", actions=actions)

    def _show_attached(self, name: str, arn: str) -> None:
        def actions() -> None:
            button("Show", lambda: self._read(name, arn), "quiet", aria_label=f"Show {name}")
            self._remove_button("Detach", name, [arn, "The policy itself stays."], self._holder.detach(arn))

        table_row(name, "AWS's" if arn.startswith("arn:aws:iam::aws:") else "managed", actions=actions)

    def _remove_button(self, verb: str, name: str, lines: list[str], call: Call) -> None:
        button(
            verb,
            lambda: self._view.confirm(
                f"{verb} this policy?",
                [*lines, f"The {self._holder.kind} may no longer do what it allows."],
                verb,
                call,
                done=self._refresh,
            ),
            "quiet",
            aria_label=f"{verb} {name}",
        )

    async def _read(self, name: str, arn: str) -> None:
        found = await self._ask(partial(self._identities.document, arn))
        if found is None:
            return
        with self._place:
            dialog = Dialog(name)
        with dialog:
            tag("pre", found, "output", tabindex="0")
        dialog.close_button()
        dialog.open()

    async def _ask(self, work: Callable[[], Answer]) -> Answer | None:
        """None where it has failed, which is told, or where another thing is shown by now. The list may have been made
        anew meanwhile, without the button that was pressed: what comes of the answer stands in the tab itself."""
        pressed = self._pressed
        try:
            found = await in_thread(work)
        except SkyliftError as error:
            if pressed == self._pressed and not self._place.is_deleted:
                with self._place:
                    tell_trouble(error)
            return None
        return None if pressed != self._pressed or self._place.is_deleted else found

    async def _edit(self, name: str) -> None:
        """The list may be older than what the policy is by now."""
        self._pressed += 1
        read = partial(self._identities.inline_policy, self._holder, name)
        found = await self._ask(read)
        if found is None:
            return
        if not found:
            with self._place:
                tell_trouble(StaleEdit(f"The policy {name}", ""))
            await self._fill()
            return
        self._lists = False
        edited = EditedText(f"The policy {name}", found, read)

        def save(text: str) -> None:
            edited.replace(reflow(text), lambda: self._view.perform(self._holder.put_policy(name, text)))

        with self._place.clear():
            self._head(f"Policy {name}")
            self._editor(found, lambda: name, save)

    def _write(self) -> None:
        """A new one."""

        def save(text: str) -> None:
            name = field.value.strip()
            if not _NAME.fullmatch(name):
                raise UsageError("The policy needs a name.", "Letters, digits and +=,.@_- may be in it.")
            # The list is what the tab needs anyway; not everybody who writes policies may read one.
            if name in self._identities.policies(self._holder).inline:
                raise UsageError(
                    f"There is a policy {name} already.", "Take another name, or go back and edit that one."
                )
            self._view.perform(self._holder.put_policy(name, text))

        self._pressed += 1
        self._lists = False
        with self._place.clear():
            self._head("A new policy")
            with box("form narrow"):
                field = Field("Name", placeholder="read-results", spellcheck="false")
            self._editor(spell_document(_BEGINNING), lambda: field.value.strip() or "NAME", save)

    def _head(self, title: str) -> None:
        with box("bar"):
            tag("h2", title)
            button("Back", self._go_back)

    def _editor(self, document: str, called: Callable[[], str], save: Callable[[str], None]) -> None:
        Editor(
            "Document (JSON)",
            document,
            check_policy,
            save,
            show=lambda text: copyable(self._holder.put_policy(called(), text).command),
            done=partial(self._saved, self._pressed),
        )

    async def _attach(self) -> None:
        policies = await self._ask(self._identities.attachable)
        if policies is None:
            return
        by_name = {name: each for each, name in policies.items()}

        def fields(changed: Callable[[str], None]) -> Callable[[], Call]:
            arn = "arn:aws:iam::aws:policy/AmazonS3ReadOnlyAccess"
            typed = Field("Policy", changed, placeholder=arn, list="policies")
            suggest("policies", policies)

            def call() -> Call:
                found = typed.value.strip()
                if not found:
                    raise UsageError("Choose a policy.", "By its name or its ARN.")
                return self._holder.attach(by_name.get(found, found))

            return call

        with self._place:
            ask("Attach a policy", "Attach", fields, self._view.perform, done=self._refresh, at_once=False)
