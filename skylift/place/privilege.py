"""Becomes root for what needs it: starts the same program again, by absolute path, under sudo."""

from __future__ import annotations

import os
import shutil
import subprocess
from typing import IO

from skylift.client.errors import UsageError
from skylift.cloud.state.home import Home
from skylift.cloud.state.program import own_python, passed_by_sudo
from skylift.place import own_namespaces


def is_root() -> bool:
    return os.geteuid() == 0


def run_as_root(
    home: Home, arguments: list[str], *, stdin: IO[bytes] | None = None, stdout: IO[bytes] | None = None
) -> int:
    """Run `skylift ARGUMENTS` as root and return its exit code. Asks for a password where sudo does: on the terminal,
    also when `stdin` or `stdout` is a file.

    Raises UsageError where there is no way to become root.
    """
    environment = {**os.environ, "SKYLIFT_HOME": str(home.path)}
    sudo = shutil.which("sudo")
    if home.is_rootless:
        own_namespaces.make(home)
        command = [*own_python("skylift.cli.main"), *arguments]
    elif sudo is not None:
        command = root_command(sudo, arguments)
    else:
        raise UsageError(
            f"`skylift {' '.join(arguments)}` needs root, and there is no sudo on this machine.",
            "Run it as root, or have a cloud that takes no root: skylift setup --rootless",
        )
    code = subprocess.run(command, env=environment, stdin=stdin, stdout=stdout, check=False).returncode
    if code == 1 and not home.is_rootless:
        # None of the commands that are run this way ends with 1; sudo does when it refuses.
        raise UsageError(
            f"sudo did not let `skylift {' '.join(arguments)}` run as root.",
            "Run it as root, or as a user that may use sudo; on a terminal, sudo asks for the password.\n"
            "Or have a cloud that takes no root: skylift setup --rootless",
        )
    return code


def root_command(sudo: str, arguments: list[str]) -> list[str]:
    names = ",".join(passed_by_sudo())
    return [sudo, f"--preserve-env={names}", "--", *own_python("skylift.cli.main"), *arguments]
