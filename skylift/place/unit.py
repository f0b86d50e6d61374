"""The cloud as a unit of systemd, where that is the machine's init: it outlives the session of its user, hears that the
machine goes off, and starts with it if that is wanted."""

from __future__ import annotations

import hashlib
import shlex
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from skylift.client.errors import RunError, UsageError
from skylift.cloud.state.data import PLACE
from skylift.cloud.state.durable import replace_file
from skylift.cloud.state.home import Home
from skylift.cloud.state.program import cloud_environment, own_environment, own_python
from skylift.cloud.state.rootless import rootless
from skylift.place.lost_cloud import MODULE

UNTIL_OFF, FOR_GOOD = Path("/run/systemd/system"), Path("/etc/systemd/system")
"""Where units are: until the machine is off, and those that start with it."""

_TEXT = Path(__file__).with_name("cloud.service")


def runs_systemd() -> bool:
    """As sd_booted(3) finds it. Without root nothing can be asked of it."""
    return UNTIL_OFF.is_dir() and not rootless()


class Unit:
    """The one of this cloud; root only. `name` has the user's number, as the data directory has it."""

    def __init__(self, home: Home) -> None:
        self._home, self._data = home, home.data
        place, user, cloud = self._data.path.parents[1], self._data.path.parent.name, self._data.path.name
        elsewhere = f"-{hashlib.sha256(str(place).encode()).hexdigest()[:8]}" if place != PLACE else ""
        self.name = f"skylift-{user}-{cloud}{elsewhere}.service"

    @property
    def starts_at_boot(self) -> bool:
        return (FOR_GOOD / self.name).exists()

    def start(self, arguments: Sequence[str]) -> str:
        """Returns what the process answers once it is ready, or why it is not, as it says it itself."""
        self._write(FOR_GOOD if self.starts_at_boot else UNTIL_OFF, arguments)
        if self._systemctl("start", self.name).returncode == 0:
            return "ready"
        return self._systemctl("show", "--property=StatusText", "--value", self.name).stdout.strip()

    def keep(self) -> None:
        """Have it start at each boot from now on. Raises RunError."""
        self._write(FOR_GOOD)
        (UNTIL_OFF / self.name).unlink(missing_ok=True)
        done = self._systemctl("enable", self.name)
        if done.returncode != 0:
            raise RunError(f"systemd does not take {FOR_GOOD / self.name}: {done.stderr.strip()}")

    def remove(self, *, kept: bool) -> None:
        """With `kept` also one that starts at each boot. A cloud that runs has its own until it ends."""
        if kept and self.starts_at_boot:
            self._systemctl("disable", self.name)
            shutil.move(FOR_GOOD / self.name, UNTIL_OFF / self.name)
        if self._home.running_pid() is None:
            (UNTIL_OFF / self.name).unlink(missing_ok=True)
        self._systemctl("daemon-reload")

    def _write(self, place: Path, arguments: Sequence[str] = ()) -> None:
        """Its environment may have passwords of proxies and indexes, so that it is root's alone."""
        values = {**cloud_environment(), "SKYLIFT_START": shlex.join(arguments)}
        lines = "".join(f"{name}={_quoted(value)}\n" for name, value in values.items())
        replace_file(self._data.environment, lines.encode(), 0o600)
        command = [*own_python(MODULE), "--home", str(self._home.path)]
        text = _TEXT.read_text().format(
            user=self._home.owner.uid,
            mounts=" ".join(_quoted(str(each), "%") for each in (self._home.path, self._data.path)),
            environment=str(self._data.environment).replace("%", "%%"),
            command=" ".join(_quoted(word, "%$") for word in command),
        )
        replace_file(place / self.name, text.encode(), 0o644)
        self._systemctl("daemon-reload")

    def _systemctl(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["systemctl", "--quiet", *arguments],
            env=own_environment(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )


def _quoted(word: str, doubled: str = "") -> str:
    """As systemd.syntax(7) and systemd.exec(5) have it. Nothing may begin a line of its own. Raises UsageError."""
    if not word.isprintable():
        raise UsageError(f"{word!r} has characters that a unit of systemd cannot have.")
    for character in doubled:
        word = word.replace(character, 2 * character)
    escaped = word.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
