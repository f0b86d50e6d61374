"""Commands are values: each is asserted to the word."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
from runner_bench import SUPERVISOR, boot_arguments

from skylift.runner.commands import (
    USER_DATA_LIMIT,
    attach_argv,
    boot_argv,
    boot_script,
    program_argv,
    slim,
    socket_path,
    ssh_argv,
)
from skylift.runner.errors import LaunchFailed
from skylift.runner.job import Program


def test_program() -> None:
    assert program_argv(Program("script", "a/b.py", ("-x", "y z"))) == ["python", "a/b.py", "-x", "y z"]
    assert program_argv(Program("module", "a.b", ("-m",))) == ["python", "-m", "a.b", "-m"]
    assert program_argv(Program("command", "make", ("all",))) == ["make", "all"]


def test_boot() -> None:
    assert boot_argv("bucket", "jobs/x", "eu-west-1", 1234, "admin") == [
        "python3",
        "/var/lib/skylift/supervisor.py",
        "boot",
        "--bucket=bucket",
        "--prefix=jobs/x",
        "--region=eu-west-1",
        "--deadline=1234",
        "--user=admin",
    ]


def test_attach_and_socket() -> None:
    assert attach_argv("x") == ["python3", "/var/lib/skylift/supervisor.py", "attach", "x"]
    assert socket_path("x") == "/run/skylift/x.sock"


def test_ssh() -> None:
    options = ["-F", "none", "-i", "/k", "-o", "IdentitiesOnly=yes", "-o", "UserKnownHostsFile=/h"]
    options += ["-o", "StrictHostKeyChecking=yes", "-o", "ServerAliveInterval=15"]
    assert ssh_argv(Path("/k"), Path("/h"), "me", "127.9.0.1", ()) == ["ssh", *options, "me@127.9.0.1"]
    words = ("echo", "two words", "$HOME;")
    assert ssh_argv(Path("/k"), Path("/h"), "me", "h", words)[-1] == "echo 'two words' '$HOME;'"


def test_user_data_has_the_supervisor_and_fits() -> None:
    argv = boot_argv(
        "skylift-123456789012-ap-southeast-2", "jobs/" + "x" * 40, "ap-southeast-2", 1795575707, "ec2-user"
    )
    script = boot_script(SUPERVISOR.read_text(), argv)
    assert script.startswith("#!/usr/bin/env python3\n")
    assert len(script.encode()) <= USER_DATA_LIMIT
    source, arguments = boot_arguments(script)
    assert arguments == argv[2:]
    assert ast.dump(ast.parse(source)) == ast.dump(ast.parse(slim(SUPERVISOR.read_text())))


def test_user_data_that_does_not_fit_is_refused() -> None:
    noise = "\n".join(f"x{number} = '{hash(str(number)):x}'" for number in range(3000))
    with pytest.raises(LaunchFailed, match="user data may have 16384"):
        boot_script(noise, [])


def test_slim_takes_comments_and_docstrings_only() -> None:
    source = '"""Doc."""\n# why\ndef f():\n    """Doc."""\n    return "kept # text"\nclass C:\n    """Doc."""\n'
    assert slim(source) == "def f():\n    return 'kept # text'\n\nclass C:\n    pass"


def test_supervisor_needs_nothing_newer_than_python_39_and_nothing_installed() -> None:
    import sys

    tree = ast.parse(SUPERVISOR.read_text(), feature_version=(3, 9))
    imported = {
        (node.module or "").split(".")[0] if isinstance(node, ast.ImportFrom) else alias.name.split(".")[0]
        for node in ast.walk(tree)
        if isinstance(node, ast.Import | ast.ImportFrom)
        for alias in node.names
    }
    assert imported <= sys.stdlib_module_names
