"""The job's Python environment, made by uv."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import IO, Any, Dict, List, Optional, Union

from skylift.runner.server.aws import Refused
from skylift.runner.server.bytecode import LEAST, compile_argv
from skylift.runner.server.cached_environment import CachedEnvironment
from skylift.runner.server.login_user import Login
from skylift.runner.server.outcome import Ended
from skylift.runner.server.prebuilt import PrebuiltEnvironment
from skylift.runner.server.program import Program
from skylift.runner.server.remove_tree import remove_below
from skylift.runner.server.status import State
from skylift.runner.server.uv import Uv

FAILED = 123
"""The exit code of a job whose environment could not be made."""


def environment_folders(login: Login) -> List[Path]:
    """The folders of an environment: its own, and that of Pythons which uv has downloaded for it."""
    return [login.home / ".skylift-venv", login.home / ".local/share/uv/python"]


class Environment:
    """`make` builds the environment that the record asks for. `python` and `bin` are its paths."""

    def __init__(self, wanted: Dict[str, Any], login: Login, program: Program, log: Path, uv: Uv) -> None:
        self._wanted, self._login, self._program, self._log, self._finder = wanted, login, program, log, uv
        self._venv = login.home / ".skylift-venv"
        self._source: Path = login.place / wanted["path"]
        self._env = dict(login.environment(), UV_PROJECT_ENVIRONMENT=str(self._venv), VIRTUAL_ENV=str(self._venv))
        self.python = shutil.which("python3", path=self._env["PATH"]) or sys.executable
        self.bin = ""

    @property
    def wanted(self) -> bool:
        return bool(self._wanted["kind"] != "none" or self._wanted.get("python"))

    @property
    def folders(self) -> List[Path]:
        return environment_folders(self._login)

    def make(self, prebuilt: Optional[PrebuiltEnvironment], cached: CachedEnvironment) -> str:
        """Make the environment. Returns `kept` (left by an earlier job), `imaged` (in the server's image), `taken`
        (from the bucket) or `built`."""
        self.enter()
        found = cached.find()
        how = "imaged" if found is not None and found.get("imaged") else "kept"
        if found is None:
            how, found = "taken", prebuilt.take() if prebuilt is not None else None
        if found is None:
            how = "built"
            self._build(prebuilt)
        elif found["lock"] is not None and not self._lock.exists():
            self._lock.write_text(found["lock"])
            os.chown(str(self._lock), self._login.uid, self._login.gid)
        if self._wanted["kind"] == "project":
            # Install the project's own package, which is never shared. Everything else is resolved.
            self._uv("sync", *self._version(), "--project", str(self._source), "--frozen")
        return how

    def enter(self) -> None:
        """It is there, or is going to be."""
        self.python = str(self._venv / "bin" / "python")
        self.bin = os.path.dirname(self.python)

    @property
    def lock(self) -> Optional[str]:
        """The lock that a project was resolved to."""
        return self._lock.read_text() if self._wanted["kind"] == "project" else None

    @property
    def _lock(self) -> Path:
        return self._source / "uv.lock"

    def _version(self) -> List[str]:
        return ["--python", self._wanted["python"]] if self._wanted.get("python") else []

    def _build(self, prebuilt: Optional[PrebuiltEnvironment]) -> None:
        kind, source, version, began = self._wanted["kind"], str(self._source), self._version(), time.monotonic()
        lock = None
        with contextlib.suppress(OSError):
            remove_below(self._login.home, self._venv)
        if kind == "script":
            self._uv("sync", *version, "--active", "--script", source)
        elif kind == "project":
            # A project with a lock is not resolved again.
            found = self._lock.exists()
            frozen = ["--frozen"] if found else []
            self._uv("sync", *version, "--project", source, "--no-install-project", *frozen)
            lock = None if found else self._lock.read_text()
        else:
            self._uv("venv", "--quiet", "--clear", *version, str(self._venv))
        if kind == "requirements":
            self._uv("pip", "install", "--python", self.python, "--requirements", source)
        if prebuilt is not None and prebuilt.shared:
            self._compile(max(LEAST, time.monotonic() - began))
            prebuilt.write_down(lock, time.monotonic() - began)

    def _compile(self, most: float) -> None:
        """Compile in advance, for later servers and for the program that comes now. The program runs without it too."""
        process = self._start(compile_argv(self.python, self.folders), subprocess.DEVNULL, subprocess.DEVNULL)
        try:
            process.wait(most)
        except subprocess.TimeoutExpired:
            self._program.kill_session()
            process.wait()
        self._go_on()

    def _program_uv(self) -> str:
        try:
            found = self._finder.program()
        except Refused as error:
            raise Ended(State.BROKEN, "uv cannot be had from the bucket: %s" % error) from None
        if found is None:
            raise Ended(
                State.ENVIRONMENT_FAILED, "This server's image has no uv, which makes Python environments.", "", FAILED
            )
        return found

    def _uv(self, *arguments: str) -> str:
        """Run uv and return what it printed. After a failure, that is the detail of the outcome."""
        with self._log.open("ab") as words:
            process = self._start([self._program_uv(), "--no-progress", *arguments], subprocess.PIPE, words)
            printed, _ = process.communicate()
        if process.returncode != 0:
            self._go_on()
            tail = self._log.read_bytes()[-8192:].decode(errors="replace").strip()
            raise Ended(State.ENVIRONMENT_FAILED, "The Python environment could not be made.", tail, FAILED)
        return printed.decode()

    def _start(self, argv: List[str], out: int, words: Union[int, IO[bytes]]) -> "subprocess.Popen[bytes]":
        return self._program.start(
            argv, "helper", cwd=str(self._login.place), env=self._env,
            stdin=subprocess.DEVNULL, stdout=out, stderr=words, umask=0o022, **self._login.identity(),
        )  # fmt: skip

    def _go_on(self) -> None:
        """Raises Ended when the job is being ended."""
        if self._program.ending:
            raise Ended(self._program.ending, "The job was ended while its environment was made.", "", 143)
