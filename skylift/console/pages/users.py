"""Users: all of them, and one with its keys, whose secret half is shown once, and its policies."""

from __future__ import annotations

from functools import partial
from typing import Any
from urllib.parse import quote

from skylift.client.errors import UsageError
from skylift.console import identity
from skylift.console.call import Call
from skylift.console.cloud_view import CloudView
from skylift.console.identity import Holder, Identities, UserKey
from skylift.console.pages.policies import PoliciesTab
from skylift.console.pages.simulator import Simulator
from skylift.console.widgets.dialog import Dialog, TypedCommand, confirm
from skylift.console.widgets.element import box, button, command_line, copyable, facts, go_to, link, tag
from skylift.console.widgets.field import Field
from skylift.console.widgets.frame import head
from skylift.console.widgets.grid import Column, listed
from skylift.console.widgets.small_table import small_table, state, table_row
from skylift.console.widgets.tabs import Tabs, in_thread
from skylift.console.widgets.trouble import panel, trouble_in

COLUMNS = (
    Column("id", "User", leads="/users/"),
    Column("path", "Path", 120, kind="code"),
    Column("created", "Created", 160),
    Column("arn", "ARN", kind="code"),
)


class UsersPage:
    def __init__(self, view: CloudView) -> None:
        self._view = view
        with head("Users"):
            button("Create user", self._create, "primary")
        listed(view.users, COLUMNS, label="Users", empty=self._say_empty, command=Call("iam", "list_users").command)

    def _say_empty(self) -> None:
        tag("h2", "There are no users yet.")
        tag("p", "You are the account's root. A user has keys of its own, and may do what its policies allow.")
        button("Create user", self._create)

    def _create(self) -> None:
        dialog = Dialog("Create user")
        with dialog:
            name = Field("Name", lambda _: command.show(), placeholder="ada", spellcheck="false", autofocus="autofocus")
            command = TypedCommand(lambda: identity.create_user(name.value.strip() or "NAME").command)

        def work() -> None:
            if not name.value.strip():
                raise UsageError("The user needs a name.")
            self._view.perform(identity.create_user(name.value.strip()))

        dialog.buttons("Create", work, done=lambda: go_to(f"/users/{quote(name.value.strip(), safe='')}"))
        dialog.open()


class UserPage:
    def __init__(self, view: CloudView, name: str) -> None:
        self._view, self._holder = view, Holder("user", name)
        self._identities = Identities(view.port)

    async def show(self) -> None:
        name = self._holder.name
        with panel("All users", "/users"):
            user = await in_thread(self._identities.user, name)
            with head(name):
                link("All users", "/users", "button")
                button("Delete user", self._delete, "danger")
            tabs = Tabs(
                {
                    "Keys": self._keys,
                    "Policies": PoliciesTab(self._view, self._holder).show,
                    "Simulator": lambda: Simulator(self._view, lambda: user.arn),
                    "Details": self._details,
                }
            )
            command_line(self._holder.call("get_{}").command)
            tabs.begin()

    async def _details(self) -> None:
        facts((await in_thread(self._identities.user, self._holder.name)).details)

    async def _keys(self) -> None:
        self._place = box("panel")
        with self._place:
            self._table = box("panel")
        await self._list()

    async def _list(self) -> None:
        with trouble_in(self._table):
            keys = await in_thread(self._identities.keys, self._holder.name)
            with self._table.clear():
                with box("buttons-left"):
                    button("Create key", self._create_key, "primary")
                if not keys:
                    tag("p", "No keys yet. With one, this user calls AWS from anywhere.", "empty-line")
                else:
                    with small_table("Key", "Status", "Created", "Actions"):
                        for key in keys:
                            self._show_key(key)

    def _show_key(self, key: UserKey) -> None:
        active = key.status == "Active"

        def actions() -> None:
            word = "Deactivate" if active else "Activate"
            button(word, partial(self._switch, key), "quiet", aria_label=f"{word} {key.id}")
            button("Delete", partial(self._delete_key, key), "quiet", aria_label=f"Delete {key.id}")

        status = partial(state, key.status.lower(), "active" if active else "")
        table_row(partial(tag, "span", key.id, "code"), status, key.created, actions=actions)

    def _switch(self, key: UserKey) -> None:
        active = key.status != "Active"
        self._view.confirm(
            "Activate this key?" if active else "Deactivate this key?",
            [key.id, "It works again." if active else "Who uses it is refused, until it is activated again."],
            "Activate" if active else "Deactivate",
            identity.set_key(self._holder.name, key.id, active=active),
            dangerous=not active,
            done=self._list,
        )

    def _delete_key(self, key: UserKey) -> None:
        self._view.confirm(
            "Delete this key?",
            [key.id, "Who uses it is refused. It cannot be brought back."],
            "Delete",
            Call("iam", "delete_access_key", {"UserName": self._holder.name, "AccessKeyId": key.id}),
            done=self._list,
        )

    def _create_key(self) -> None:
        call = Call("iam", "create_access_key", {"UserName": self._holder.name})
        made: list[Any] = []

        async def done() -> None:
            # Not within the question, which is going.
            with self._place:
                _show_secret(made.pop())
            await self._list()

        confirm(
            "Create a key?",
            [self._holder.name, "Its secret half is shown once, and never again."],
            call.command,
            "Create",
            lambda: made.append(self._view.perform(call)),
            dangerous=False,
            done=done,
        )

    async def _delete(self) -> None:
        name = self._holder.name
        policies = await in_thread(self._identities.policies, self._holder)
        keys = await in_thread(self._identities.keys, name)
        user = await in_thread(self._identities.user, name)
        calls = identity.delete_user(name, policies, keys, user.groups)
        confirm(
            "Delete this user?",
            [name, *(f"The key {each.id} is deleted with it." for each in keys)],
            "\n".join(each.command for each in calls),
            "Delete",
            lambda: self._identities.perform_all(calls),
            done=lambda: go_to("/users"),
        )


def _show_secret(made: Any) -> None:
    """The dialog has the only copy, and nothing of it stays when it is closed."""
    key = made["AccessKey"]
    dialog = Dialog("The key's secret half, shown once")
    with dialog:
        tag("p", "Keep both now. AWS does not show the second one again.")
        copyable(f"export AWS_ACCESS_KEY_ID={key['AccessKeyId']}", "Copy the key")
        copyable(f"export AWS_SECRET_ACCESS_KEY={key['SecretAccessKey']}", "Copy the secret")
    dialog.close_button()
    dialog.open()
