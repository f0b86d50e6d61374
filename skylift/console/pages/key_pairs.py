"""Key pairs: made here, their private half downloaded once; deleted here."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from skylift.client.errors import UsageError
from skylift.console.call import Call
from skylift.console.cloud_view import CloudView
from skylift.console.pages.edit_tags import edit_tags
from skylift.console.poller import FlatRow
from skylift.console.widgets.dialog import Dialog, TypedCommand
from skylift.console.widgets.element import button, enable, save, tag
from skylift.console.widgets.field import Field, Select
from skylift.console.widgets.frame import head
from skylift.console.widgets.grid import Column, listed

COLUMNS = (
    Column("name", "Name"),
    Column("id", "ID", 190, kind="code"),
    Column("type", "Type", 100),
    Column("created", "Created", 160),
    Column("fingerprint", "Fingerprint", kind="code"),
    Column("tags", "Tags"),
)


class KeyPairsPage:
    def __init__(self, view: CloudView) -> None:
        self._view = view
        with head("Key pairs"):
            button("Create key pair", self._create, "primary")
            tags = button("Tags", lambda: self._grid.with_one(self._edit_tags))
            delete = button("Delete", lambda: self._grid.with_one(self._delete), "danger")

        def dress(chosen: list[FlatRow]) -> None:
            for each in (tags, delete):
                enable(each, len(chosen) == 1)

        self._grid = listed(
            view.key_pairs,
            COLUMNS,
            label="Key pairs",
            empty=self._say_empty,
            command=Call("ec2", "describe_key_pairs").command,
            on_choice=dress,
        )

    def _say_empty(self) -> None:
        tag("h2", "There are no key pairs yet.")
        tag("p", "A key pair lets you in by SSH. Its private half is given to you once, when it is made.")
        button("Create key pair", self._create)

    def _create(self) -> None:
        create_key_pair(self._view)

    async def _edit_tags(self, row: FlatRow) -> None:
        await edit_tags(self._view, row["id"], row["name"], self._view.key_pairs.look_soon)

    def _delete(self, row: FlatRow) -> None:
        self._view.confirm(
            "Delete this key pair?",
            [row["name"], "Instances that were launched with it go on, and still take its private half."],
            "Delete",
            Call("ec2", "delete_key_pair", {"KeyName": row["name"]}),
            done=self._view.key_pairs.look_soon,
        )


def create_key_pair(view: CloudView, made_one: Callable[[str], Any] = lambda _: None) -> None:
    """Ask for a name, make it, and give the browser the private half. `made_one` gets its name."""
    made: list[Any] = []
    dialog = Dialog("Create key pair")

    def call() -> Call:
        if not name.value.strip():
            raise UsageError("The key pair needs a name.")
        return Call("ec2", "create_key_pair", {"KeyName": name.value.strip(), "KeyType": kind.value})

    with dialog:
        name = Field("Name", lambda _: command.show(), placeholder="my-key", spellcheck="false", autofocus="autofocus")
        kind = Select("Type", {"ed25519": "ED25519", "rsa": "RSA"}, lambda _: command.show())
        tag("p", "The private key is downloaded now. AWS does not keep it: it cannot be had again.", "empty-line")
        command = TypedCommand(lambda: keeping(call()), at_once=False)

    def done() -> None:
        save(file_name(made[-1]["KeyName"]), made[-1]["KeyMaterial"].encode())
        view.key_pairs.look_soon()
        made_one(str(made[-1]["KeyName"]))

    dialog.buttons("Create", lambda: made.append(view.perform(call())), done=done)
    dialog.open()


def keeping(call: Call) -> str:
    """The command that makes a key pair, and keeps its private half as OpenSSH wants it: nobody else may read it."""
    return f"(umask 077; {call.command} --query KeyMaterial --output text > {file_name(call.params['KeyName'])})"


def file_name(key: str) -> str:
    """Which a shell and every system take for one, whatever the key is called."""
    return f"{re.sub('[^A-Za-z0-9._-]', '_', key)}.pem"
