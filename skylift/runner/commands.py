"""Commands as values: a job's parts to the exact argv that is run. Pure; nothing here runs anything."""

from __future__ import annotations

import ast
import base64
import gzip
import shlex
from pathlib import Path

from skylift.runner.errors import LaunchFailed
from skylift.runner.job import Program

SUPERVISOR_HOME = "/var/lib/skylift"
SUPERVISOR = f"{SUPERVISOR_HOME}/supervisor.py"
USER_DATA_LIMIT = 16384
"""Bytes of user data before base64, as RunInstances documents."""


def program_argv(program: Program) -> list[str]:
    """What the supervisor starts; a first word `python` is replaced there by the environment's interpreter unless the
    program is a command."""
    if program.kind == "script":
        return ["python", program.target, *program.args]
    if program.kind == "module":
        return ["python", "-m", program.target, *program.args]
    return [program.target, *program.args]


def boot_argv(bucket: str, prefix: str, region: str, deadline: int, user: str) -> list[str]:
    """How the supervisor is started at first boot. `deadline` is in seconds since the epoch."""
    return [
        "python3",
        SUPERVISOR,
        "boot",
        f"--bucket={bucket}",
        f"--prefix={prefix}",
        f"--region={region}",
        f"--deadline={deadline}",
        f"--user={user}",
    ]


def attach_argv(job: str) -> list[str]:
    """Joins its own stdin and stdout to the supervisor's socket, where sshd does not forward to sockets."""
    return ["python3", SUPERVISOR, "attach", job]


def socket_path(job: str) -> str:
    return f"/run/skylift/{job}.sock"


def boot_script(supervisor: str, argv: list[str]) -> str:
    """User data: a Python script that unpacks the supervisor and goes on as it, in a session of its own.

    Under systemd it is a unit of its own, because cloud-init's children end with cloud-init. Raises LaunchFailed when
    it is larger than user data may be.
    """
    packed = base64.b85encode(gzip.compress(slim(supervisor).encode(), mtime=0)).decode()
    script = f"""#!/usr/bin/env python3
import base64, gzip, os, sys
os.umask(0o077)
os.makedirs({SUPERVISOR_HOME!r}, exist_ok=True)
os.chmod({SUPERVISOR_HOME!r}, 0o711)
code = gzip.decompress(base64.b85decode("{packed}"))
with open({SUPERVISOR!r}, "wb") as file:
    file.write(code)
os.chmod({SUPERVISOR!r}, 0o755)
argv = {argv!r}
if os.path.isdir("/run/systemd/system"):
    unit = ["systemd-run", "--quiet", "--unit=skylift-supervisor", "--property=KillMode=process"]
    os.execvp(unit[0], unit + argv)
if os.fork() == 0:
    os.setsid()
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    sys.argv = argv[1:]
    exec(compile(code, argv[1], "exec"), {{"__name__": "__main__"}})
"""
    if len(script.encode()) > USER_DATA_LIMIT:
        raise LaunchFailed(f"The boot script is {len(script)} bytes; user data may have {USER_DATA_LIMIT}.")
    return script


def slim(source: str) -> str:
    """The same program without comments and docstrings, which cost room that user data does not have."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and ast.get_docstring(node) is not None:
            node.body = node.body[1:] or [ast.Pass()]
    return ast.unparse(tree)


def ssh_argv(key: Path, known_hosts: Path, user: str, address: str, command: tuple[str, ...]) -> list[str]:
    """OpenSSH to a server whose host key is pinned; nothing is trusted on first use, nobody's own settings apply."""
    return [
        "ssh",
        "-F",
        "none",
        "-i",
        str(key),
        "-o",
        "IdentitiesOnly=yes",
        "-o",
        f"UserKnownHostsFile={known_hosts}",
        "-o",
        "StrictHostKeyChecking=yes",
        "-o",
        "ServerAliveInterval=15",
        f"{user}@{address}",
        *((shlex.join(command),) if command else ()),
    ]
