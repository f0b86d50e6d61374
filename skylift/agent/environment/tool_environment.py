"""The environment of skylift's own programs on a server: Dask, by a lock, and nothing of the user's.

The first server of an image builds it with uv and keeps it in the bucket; later ones take it from there. It belongs to
root, so that a program of the user's can use it and not change it.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Callable, Dict, List, Optional

from skylift.agent.environment.bytecode import LEAST, compile_argv, run_within
from skylift.agent.environment.prebuilt import OWN, PROVEN, EnvironmentOwner, PrebuiltEnvironment
from skylift.agent.environment.unpack import sha256_of
from skylift.agent.environment.uv import Uv
from skylift.agent.machine.console import say
from skylift.agent.machine.root_path import ROOT_PATH
from skylift.agent.remote.aws import Refused, Unreachable, retry_until
from skylift.agent.remote.prefix import Prefix

PLACE = "var/lib/skylift/dask"
OLDEST = (3, 10)
"""The Python that a map's coordinator needs."""
PYTHON = ">=%d.%d" % OLDEST
"""The Python of the locked packages. uv uses the image's own if it has this version, and else fetches one."""
BUILDING = 300.0
"""Seconds after which a step of uv's is given up."""
PINNED = 3.0
"""Seconds in which the pin of an environment that was built is read. A role that may not list the bucket is denied one
that is not there, and is new itself."""
FOLLOWING = 60.0
"""Seconds that a server waits while another one builds the environment, before it builds its own."""


class CannotMake(Exception):
    """The environment could not be built. The text is for the user."""


class ToolEnvironment:
    """`record` is the part of the job's record: {"lock": {"key", "sha256"}, "environment": {"place", "sha256",
    "shared", "alone"*}}. If it is neither `shared` nor has a digest, another server is building it and pins it within
    `patience` seconds. With `alone`, each server builds its own. `place` gives another prefix of the bucket. uv is
    started with the variables `environment`, and root's PATH. `say` logs for people who examine the server."""

    def __init__(
        self,
        record: Dict[str, Any],
        place: Callable[[str], Prefix],
        root: Path,
        uv: Uv,
        environment: Dict[str, str],
        patience: Optional[float] = None,
        say: Callable[[str], None] = say,
    ) -> None:
        self._lock, self._named, self._place, self._uv = record["lock"], dict(record["environment"]), place, uv
        self._home, self._patience, self._say = root / PLACE, patience, say
        self._venv, self._pythons = self._home / "venv", self._home / "python"
        self._mark, self._log = self._home / "ready", self._home / "uv.log"
        self._env = {name: value for name, value in environment.items() if name not in ("PYTHONPATH", "PYTHONHOME")}
        self._env.update(
            PATH=ROOT_PATH,
            HOME=str(self._home),
            UV_CACHE_DIR=str(self._home / "cache"),
            UV_PYTHON_INSTALL_DIR=str(self._pythons),
            VIRTUAL_ENV=str(self._venv),
        )

    @property
    def python(self) -> str:
        """Its interpreter. With -I it sees nothing but this environment."""
        return str(self._venv / "bin/python")

    def make(self) -> str:
        """Make the environment, if it is not here yet. Returns `here`, `taken` (from the bucket) or `built`. Raises
        CannotMake, Unreachable and Refused."""
        if self._is_here():
            return "here"
        self._home.mkdir(mode=0o755, parents=True, exist_ok=True)
        self._home.chmod(0o755)
        prebuilt, how = self._prebuilt(), "taken"
        if prebuilt.take() is None:
            how = "built"
            self._build(prebuilt)
        self._mark.write_text(json.dumps(self._lock["sha256"]))
        prebuilt.keep()
        return how

    def _is_here(self) -> bool:
        try:
            return bool(json.loads(self._mark.read_text()) == self._lock["sha256"])
        except (FileNotFoundError, ValueError):
            return False

    def _prebuilt(self) -> PrebuiltEnvironment:
        named, owner = self._named, EnvironmentOwner(self._home, os.geteuid(), os.getegid())
        prefix = self._place(named["place"])
        if not named["shared"] and not named["sha256"] and not named.get("alone"):
            named["sha256"] = follow(prefix, "Dask's environment", self._patience, self._say)
        return PrebuiltEnvironment(prefix, named, owner, [self._venv, self._pythons], self._say)

    def _build(self, prebuilt: PrebuiltEnvironment) -> None:
        began = time.monotonic()
        for each in (self._venv, self._pythons):
            shutil.rmtree(str(each), ignore_errors=True)
        lock = self._home / "lock.txt"
        folder, _, name = self._lock["key"].rpartition("/")
        prefix, until = self._place(folder), time.time() + BUILDING
        retry_until("the lock of Dask's environment", lambda: prefix.fetch(name, lock), until, self._say)
        if sha256_of(lock) != self._lock["sha256"]:
            raise CannotMake("The list of Dask's packages that arrived is not the one that the record names.")
        # A map's coordinator imports from it with the server's own Python, where that is new enough.
        python = sys.executable if sys.version_info >= OLDEST else PYTHON
        self._run("venv", "--quiet", "--clear", "--python", python, str(self._venv))
        wheels = ("--no-build", "--require-hashes")
        self._run("pip", "install", "--python", self.python, *wheels, "--requirements", str(lock))
        shutil.rmtree(str(self._home / "cache"), ignore_errors=True)
        for each in (self._venv, self._pythons):
            (each / ".lock").unlink(missing_ok=True)  # which uv lets anybody write
        took = time.monotonic() - began
        if not run_within(compile_argv(self.python, [self._venv, self._pythons]), max(LEAST, took), self._env):
            self._say("Dask's environment is compiled in part")
        if not prebuilt.write_down(None, time.monotonic() - began):
            # The inputs that run here next could pin another one, as long as none is pinned.
            raise CannotMake("It cannot be written down which environment of Dask was built.")

    def _run(self, *arguments: str) -> None:
        program = self._uv.program()
        if program is None:
            raise CannotMake("This server's image has no uv, which makes Python environments.")
        argv: List[str] = [program, "--no-progress", *arguments]
        try:
            with self._log.open("ab") as words:
                done = subprocess.run(
                    argv, timeout=BUILDING, check=False, cwd=str(self._home), env=self._env, umask=0o022,
                    stdin=subprocess.DEVNULL, stdout=words, stderr=words,
                )  # fmt: skip
        except subprocess.TimeoutExpired:
            raise CannotMake("uv took more than %d s to make the environment of Dask." % BUILDING) from None
        if done.returncode != 0:
            tail = self._log.read_bytes()[-4096:].decode(errors="replace").strip()
            raise CannotMake("The environment of Dask could not be made:\n%s" % tail)


def pinned(named: Dict[str, Any], place: Callable[[str], Prefix]) -> Dict[str, Any]:
    """`named` with the digest of the environment that a server of this map has built since the record was written, if
    there is one."""
    if named["sha256"] or named.get("alone"):
        return named
    return dict(named, sha256=follow(place(named["place"]), "Dask's environment", PINNED))


def follow(prefix: Prefix, what: str, patience: Optional[float] = None, say: Callable[[str], None] = say) -> str:
    """Wait for the server that builds an environment: its pin comes first, and the index when all files are there. That
    takes some seconds, unless the server was lost in between. Returns the digest, or nothing when that takes too
    long."""
    until = time.time() + (FOLLOWING if patience is None else patience)
    try:
        pin = json.loads(_await(prefix, PROVEN, until)) or json.loads(_await(prefix, OWN, until))
        if pin:
            _await(prefix, "index.json", min(until, time.time() + FOLLOWING))
        return str(pin.get("sha256", ""))
    except (Unreachable, Refused) as error:
        say("no other server has built %s: %s" % (what, error))
        return ""


def _await(prefix: Prefix, key: str, until: float) -> bytes:
    """Waits for an object that another server writes. Failed looks are not logged: a map's output is its user's."""
    pause, why = 0.2, Unreachable("%s is not there yet" % key)
    while True:
        try:
            found: Optional[bytes] = prefix.get(key)
            if found is not None:
                return found
        except Unreachable as error:
            # Without ListBucket, S3 answers 403 for a missing key.
            why = error
        if time.time() + pause > until:
            raise why
        time.sleep(pause)
        pause = min(pause * 1.3, 1.0)
