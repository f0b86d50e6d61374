"""The job's Python environment, made by uv."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any, Dict

from skylift.runner.supervisor.aws import Refused
from skylift.runner.supervisor.login import Login
from skylift.runner.supervisor.program import Program
from skylift.runner.supervisor.uv import Uv
from skylift.runner.supervisor.verdict import Ended

FAILED = 123
"""The exit code of a job whose environment could not be made."""


class Environment:
    """`make` builds what the record asks for; `python` and `bin` are what came of it."""

    def __init__(self, wanted: Dict[str, Any], login: Login, program: Program, log: Path, uv: Uv) -> None:
        self._wanted, self._login, self._program, self._log, self._finder = wanted, login, program, log, uv
        self._venv = login.home / ".skylift-venv"
        self._env = dict(login.environment(), UV_PROJECT_ENVIRONMENT=str(self._venv))
        self.python = shutil.which("python3", path=self._env["PATH"]) or sys.executable
        self.bin = ""

    @property
    def wanted(self) -> bool:
        return bool(self._wanted["kind"] != "none" or self._wanted.get("python"))

    def make(self) -> None:
        try:
            found = self._finder.program()
        except Refused as error:
            raise Ended("broken", "uv cannot be had from the bucket: %s" % error) from None
        if found is None:
            raise Ended(
                "environment-failed", "This server's image has no uv, which makes Python environments.", "", FAILED
            )
        self._program_uv = found
        kind, source = self._wanted["kind"], self._login.place / self._wanted["path"]
        version = ["--python", self._wanted["python"]] if self._wanted.get("python") else []
        if kind == "script":
            self._uv("sync", *version, "--script", str(source))
            self.python = self._uv("python", "find", "--script", str(source)).strip()
        else:
            self.python = str(self._venv / "bin" / "python")
            if kind == "project":
                # The lock decides where there is one; what it says is not resolved anew.
                frozen = ["--frozen"] if (source / "uv.lock").exists() else []
                self._uv("sync", *version, "--project", str(source), *frozen)
            else:
                self._uv("venv", "--quiet", "--clear", *version, str(self._venv))
            if kind == "requirements":
                self._uv("pip", "install", "--python", self.python, "--requirements", str(source))
        self.bin = os.path.dirname(self.python)

    def _uv(self, *arguments: str) -> str:
        """What uv printed. Its own words are the detail of a failure."""
        with self._log.open("ab") as words:
            process = self._program.start(
                [self._program_uv, "--no-progress", *arguments],
                "helper",
                cwd=str(self._login.place),
                env=self._env,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=words,
                umask=0o022,
                **self._login.identity(),
            )
            printed, _ = process.communicate()
        if process.returncode != 0:
            if self._program.ending:
                raise Ended(self._program.ending, "The job was ended while its environment was made.", "", 143)
            tail = self._log.read_bytes()[-8192:].decode(errors="replace").strip()
            raise Ended("environment-failed", "The Python environment could not be made.", tail, FAILED)
        return printed.decode()
