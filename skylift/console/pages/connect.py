"""Shells on one instance, side by side, found again after a reload."""

from __future__ import annotations

import shlex

from skylift.client.errors import SkyliftError
from skylift.console.cloud_view import CloudView
from skylift.console.pages.key_pairs import file_name
from skylift.console.shell import Shell, Shells
from skylift.console.widgets.element import box, button, copyable, set_attribute, tag
from skylift.console.widgets.field import Field
from skylift.console.widgets.frame import head
from skylift.console.widgets.open_tab import TabList
from skylift.console.widgets.tabs import in_background, in_thread
from skylift.console.widgets.terminal import TerminalView, full_screen
from skylift.console.widgets.trouble import say_trouble


class ConnectPage:
    def __init__(self, view: CloudView, shells: Shells, instance: str) -> None:
        self._view, self._shells, self._id = view, shells, instance
        self._login, self._billed = view.port.settings.login_user, view.port.settings.billed
        self._shown: Shell | None = None

    async def show(self) -> None:
        with head(f"Connect to {self._id}"):
            self._user = Field("User", value=self._login, spellcheck="false")
            button("New shell", self._open, "primary")
            button("Close shell", self._close)
            full_screen()
            tag("a", "Details", "button", href=f"/instances/{self._id}")
        self._tabs = TabList(self._follow)
        self._place = box("panel")
        with box("commandline"):
            copyable(self._command())
            self._ssh = box()
        in_background(self._show_ssh_command())
        if shell := self._shell(self._tabs.asked):
            self._look_at(shell)
        else:
            await self._open()

    def _shell(self, word: str) -> Shell | None:
        """The one of that number; what is no number of one is of the latest."""
        found = self._shells.of(self._id)
        return next((each for each in found if str(each.number) == word), found[-1] if found else None)

    def _follow(self, word: str) -> None:
        shell = self._shell(word)
        if self._shown is not None and shell is not None and shell is not self._shown:
            self._look_at(shell)

    def _command(self) -> str:
        if self._billed:
            words = ["aws", "ec2-instance-connect", "ssh", "--instance-id", self._id, "--os-user", self._login]
            return shlex.join(words)
        return f"skylift cloud connect {shlex.quote(self._id)}"

    async def _show_ssh_command(self) -> None:
        """OpenSSH's own, with the key that the instance was launched with, in the folder that it was saved in."""
        try:
            row = (await in_thread(self._view.port.instance, self._id)).row
        except SkyliftError:
            # The shell says what is wrong.
            return
        if row.public and row.key and not self._ssh.is_deleted:
            with self._ssh:
                copyable(ssh_command(row.key, self._login, row.public))

    async def _open(self) -> None:
        with self._place.clear():
            tag("p", "Connecting …", "waiting")
        try:
            shell = await self._shells.open(self._id, self._user.value)
        except SkyliftError as error:
            with self._place.clear():
                say_trouble(error)
            return
        self._look_at(shell)

    def _close(self) -> None:
        if self._shown is None:
            return
        self._shells.close(self._shown)
        self._shown = None
        left = self._shells.of(self._id)
        if left:
            self._look_at(left[-1])
            return
        self._tabs.say("")
        self._list([])
        with self._place.clear():
            tag("p", "There is no shell. Open one with New shell.", "empty-line")

    def _look_at(self, shell: Shell) -> None:
        """Its number is in the address: other shells may come before the page is loaded again."""
        self._tabs.say(str(shell.number))
        self._shown = shell
        self._list(self._shells.of(self._id))
        with self._place.clear():
            TerminalView(shell.text, f"Shell {shell.number}", on_type=shell.write, on_resize=shell.resize)

    def _list(self, shells: list[Shell]) -> None:
        with self._tabs.clear():
            for each in shells:
                made = tag("button", f"{each.target.user} #{each.number}", "tab", type="button", role="tab")
                set_attribute(made, "aria-selected", "true" if each is self._shown else "false")
                made.on("click", lambda _, each=each: self._look_at(each))


def ssh_command(key: str, user: str, address: str) -> str:
    return shlex.join(["ssh", "-i", file_name(key), f"{user}@{address}"])
