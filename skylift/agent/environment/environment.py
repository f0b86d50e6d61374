"""The job's Python environment, made by uv."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import IO, Any, Callable, Dict, List, Optional, Union

from skylift.agent.environment.bytecode import LEAST, compile_argv
from skylift.agent.environment.cached_environment import CachedEnvironment
from skylift.agent.environment.environment_index import Changed
from skylift.agent.environment.index_password import how_to_have_password
from skylift.agent.environment.prebuilt import OWN, PROVEN, PrebuiltEnvironment
from skylift.agent.environment.uv import Uv
from skylift.agent.environment.wheel_check import check_lock
from skylift.agent.job.login_user import Login
from skylift.agent.job.outcome import Ended
from skylift.agent.machine.console import say
from skylift.agent.machine.remove_tree import remove_below
from skylift.agent.program.program import UserProcess
from skylift.agent.remote.aws import Refused, Unreachable
from skylift.contract import record
from skylift.contract.states import State

_OPTIONS, _PINNED = "options~.txt", "pinned~.txt"
"""The options among the lines of requirements, which the client writes beside them, and what these were pinned to."""

FAILED = 123
"""The exit code of a job whose environment could not be made."""


def environment_folders(login: Login) -> List[Path]:
    """The folders of an environment: its own, and the folder of Pythons that uv has downloaded for it."""
    return [login.home / ".skylift-venv", login.home / ".local/share/uv/python"]


class EnvironmentBuilder:
    """`make` builds the environment that the record asks for. `python` and `bin` are its paths. `recipe` is a folder of
    root's for what is written anew for uv."""

    def __init__(
        self, wanted: record.Environment, login: Login, program: UserProcess, log: Path, uv: Uv, recipe: Path
    ) -> None:
        self._wanted, self._login, self._program, self._log, self._finder = wanted, login, program, log, uv
        self._venv, self._recipe, self._cwd = login.home / ".skylift-venv", recipe, login.place
        self._source: Path = login.place / wanted.path
        self._env = dict(login.environment(), UV_PROJECT_ENVIRONMENT=str(self._venv), VIRTUAL_ENV=str(self._venv))
        self.python = shutil.which("python3", path=self._env["PATH"]) or sys.executable
        self.bin = ""
        self.name = ""
        self.lock: Optional[str] = None

    @property
    def wanted(self) -> bool:
        return bool(self._wanted.kind != "none" or self._wanted.python)

    @property
    def folders(self) -> List[Path]:
        return environment_folders(self._login)

    def make(
        self, prebuilt: Optional[PrebuiltEnvironment], cached: CachedEnvironment, recipe: Callable[[], Dict[str, Any]]
    ) -> str:
        """Make the environment. Returns `kept` (left by an earlier job), `imaged` (in the server's image), `taken`
        (from the bucket) or `built`. Then `name` is what it is called, and `lock` what a project was resolved to."""
        self.enter()
        found = cached.find()
        how = "imaged" if found is not None and found.get("imaged") else "kept"
        if found is None:
            how, found = "taken", prebuilt.take() if prebuilt is not None else None
        if found is not None:
            self.name, self.lock = found["name"], found["lock"]
            if prebuilt is not None:
                self._close(prebuilt, PROVEN, OWN)
        else:
            how = "built"
            self._clear()
            if prebuilt is None:
                self._install(self._source)
            else:
                self._build(prebuilt, recipe())
        if self._wanted.kind == "project":
            self._add_project(prebuilt)
        return how

    def enter(self) -> None:
        """It is there, or is going to be."""
        self.python = str(self._venv / "bin" / "python")
        self.bin = os.path.dirname(self.python)

    def _add_project(self, prebuilt: Optional[PrebuiltEnvironment]) -> None:
        """Install the project's own package, which is never shared. Everything else is resolved."""
        self._cwd, lock = self._login.place, self._lock_of(self._source)
        if self.lock is not None and not lock.exists():
            lock.write_text(self.lock)
            os.chown(str(lock), self._login.uid, self._login.gid)
        self._uv("sync", *self._version(), "--project", str(self._source), "--frozen")
        self.name = prebuilt.names[OWN] if prebuilt is not None else ""

    def _version(self) -> List[str]:
        return ["--python", self._wanted.python] if self._wanted.python else []

    def _build(self, prebuilt: PrebuiltEnvironment, recipe: Dict[str, Any]) -> None:
        """Build an environment that other jobs may have. Code of packages, which may do what the program may, runs only
        when nothing can be proven any more, and the program only when nothing can be written down any more."""
        began, pin = time.monotonic(), PROVEN
        self._cwd, source = self._recipe, self._recipe / recipe["source"]
        try:
            self._install_wheels(source, recipe)
            prebuilt.prove(self._venv)
        except (Changed, Ended) as error:
            if isinstance(error, Ended) and error.state != State.ENVIRONMENT_FAILED:
                raise
            say("the environment is not made of wheels alone: %s" % error)
            self._log.write_bytes(b"")
            self._close(prebuilt, PROVEN)
            pin, self.lock = OWN, None
            self._clear()
            self._lay(recipe["texts"], self._login.uid)
            self._install(source)
        self.name = prebuilt.names[pin]
        if prebuilt.shared:
            self._compile(max(LEAST, time.monotonic() - began))
            if not prebuilt.write_down(self.lock, time.monotonic() - began, pin):
                self._close(prebuilt, PROVEN, OWN)

    def _clear(self) -> None:
        with contextlib.suppress(OSError):
            remove_below(self._login.home, self._venv)

    def _close(self, prebuilt: PrebuiltEnvironment, *pins: str) -> None:
        try:
            for each in pins:
                prebuilt.close(each)
        except (Unreachable, Refused) as error:
            words = "What environment the program has cannot be written down, and so it is not started: %s"
            raise Ended(State.BROKEN, words % error) from None

    def _install(self, source: Path, *only: str) -> None:
        """`only` are options that leave uv one way; else it is any that it knows."""
        kind, version, lock = self._wanted.kind, self._version(), self._lock_of(source)
        if kind == "script":
            self._uv("sync", *version, "--active", "--script", str(source), *only)
        elif kind == "project":
            # A project with a lock is not resolved again.
            how = only or (["--frozen"] if lock.exists() else [])
            self._uv("sync", *version, "--project", str(source), "--no-install-project", *how)
            self.lock = self._print(lock)
        else:
            self._uv("venv", "--quiet", "--clear", *version, str(self._venv))
        if kind == "requirements":
            self._uv("pip", "install", "--python", self.python, "--requirements", str(source), *only)

    def _install_wheels(self, source: Path, recipe: Dict[str, Any]) -> None:
        """From wheels with hashes alone, and without their code. Raises Changed and Ended where that cannot be."""
        kind, version, texts, lock = self._wanted.kind, self._version(), recipe["texts"], self._lock_of(source)
        only, place = ["--no-build"], os.path.relpath(str(lock), str(self._recipe))
        self._lay(texts, self._login.uid)
        if kind in ("script", "project"):
            if place not in texts:
                self._uv("lock", *only, *version, "--%s" % kind, str(source))
                texts = dict(texts, **{place: self._print(lock)})
                check_lock(texts[place])
            only += ["--frozen"]
        elif kind == "requirements":
            only += ["--require-hashes"]
            # Where some have hashes, only these are asked for.
            if not any("--hash" in each for each in texts.values()):
                self._uv("venv", "--quiet", *version, str(self._venv))
                how = ["--no-build", "--python", self.python, "--generate-hashes", "--no-annotate", "--no-header"]
                texts = dict(texts, **{_PINNED: self._uv("pip", "compile", *how, str(source))})
                only += ["--no-deps", "--requirements", str(source.parent / _OPTIONS)]
                source = self._recipe / _PINNED
        self._lay(texts)
        self._install(source, *only)
        if kind != "none" and not recipe["locked"]:
            self._check_newest()

    def _lock_of(self, source: Path) -> Path:
        return source / "uv.lock" if self._wanted.kind == "project" else Path("%s.lock" % source)

    def _check_newest(self) -> None:
        """Wheels alone may give an older version, if the newest one has to be built. A version that was requested is
        judged in the same way. The environment's own Python is not started: that would run hooks of its packages.
        Raises Changed."""
        how = ["--outdated", "--format", "json", "--python", os.path.realpath(self.python)]
        for site in self._venv.glob("lib/*/site-packages"):
            for each in json.loads(self._uv("pip", "list", *how, "--target", str(site))):
                if each["latest_filetype"] != "wheel":
                    raise Changed("%s %s has to be built" % (each["name"], each["latest_version"]))

    def _lay(self, texts: Dict[str, str], owner: int = 0) -> None:
        """Write what uv reads into a new folder. It is root's, where uv has nothing to write."""
        with contextlib.suppress(FileNotFoundError):
            remove_below(self._recipe.parent, self._recipe)
        self._recipe.mkdir(mode=0o755, parents=True)
        for path, text in texts.items():
            (self._recipe / path).parent.mkdir(mode=0o755, parents=True, exist_ok=True)
            (self._recipe / path).write_text(text)
        for each in [self._recipe, *self._recipe.rglob("*")] if os.geteuid() == 0 else ():
            each.chmod(0o755 if each.is_dir() else 0o644)
            os.chown(str(each), owner, -1)

    def _print(self, path: Path) -> str:
        """A file that uv has written, read with its user's rights: it may have become a link."""
        return self._run(["cat", "--", str(path)])

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
        return self._run([self._program_uv(), "--no-progress", *arguments])

    def _run(self, argv: List[str]) -> str:
        """Run a command and return what it printed. After a failure, its words are the detail of the outcome."""
        with self._log.open("ab") as words:
            process = self._start(argv, subprocess.PIPE, words)
            printed, _ = process.communicate()
        if process.returncode != 0:
            self._go_on()
            tail = self._log.read_bytes()[-8192:].decode(errors="replace").strip()
            detail = tail + how_to_have_password(tail, self._env)
            raise Ended(State.ENVIRONMENT_FAILED, "The Python environment could not be made.", detail, FAILED)
        return printed.decode()

    def _start(self, argv: List[str], out: int, words: Union[int, IO[bytes]]) -> "subprocess.Popen[bytes]":
        return self._program.start(
            argv, "helper", cwd=str(self._cwd), env=self._env,
            stdin=subprocess.DEVNULL, stdout=out, stderr=words, umask=0o022, **self._login.identity(),
        )  # fmt: skip

    def _go_on(self) -> None:
        """Raises Ended when the job is being ended."""
        if self._program.ending:
            raise Ended(self._program.ending, "The job was ended while its environment was made.", "", 143)
