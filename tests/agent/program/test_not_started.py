"""Why a command could not be started, told by who knows: the server."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.agent_bench import Machine
from support.shipped_job import Shipped

from skylift.agent.program.not_started import how_to_install, why_not_started
from skylift.client.job.job import Program
from skylift.client.plan.plan_job import Order


@pytest.fixture
def commands(tmp_path: Path) -> Path:
    for name in ("python3", "pip3", "nano", "vi", "sudo", "apt-get", "ls"):
        (tmp_path / name).write_text("#!/bin/sh\n")
        (tmp_path / name).chmod(0o755)
    return tmp_path


def why(name: str, folder: Path, error: OSError | None = None) -> str:
    missing = error or FileNotFoundError(2, "No such file")
    return why_not_started([name], missing, {"PATH": str(folder)}, str(folder))


def how(name: str, folder: Path) -> str:
    return how_to_install([name], FileNotFoundError(2, "No such file"), {"PATH": str(folder)})


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("nosuchcmd", "There is no command nosuchcmd on the server."),
        (
            "vim",
            "There is no command vim on the server. Editors that are there: nano, vi.",
        ),
        ("pyton3", "There is no command pyton3 on the server. There is python3."),
        (
            "ls -la",
            "There is no command ls -la on the server. It was given as one word: ls would be started by the same words"
            " without quotes.",
        ),
        (
            "./tool",
            "./tool is not on the server. What a job needs goes along with --in, relative to where you are.",
        ),
    ],
)  # fmt: skip
def test_words(commands: Path, name: str, told: str) -> None:
    assert why(name, commands) == told


def test_what_is_there_and_cannot_be_started(commands: Path) -> None:
    (commands / "tool").write_text("#!/usr/bin/nosuchlanguage\n")
    assert why("./tool", commands) == (
        "./tool could not be started: what its first line names as its interpreter is not on the server."
    )
    refused = PermissionError(13, "Permission denied")
    assert why("./tool", commands, error=refused) == "./tool could not be started: Permission denied."


@pytest.mark.parametrize("name", ["vim", "a-command-with-a-name-that-is-rather-long"])
def test_how_it_is_installed_fits_a_narrow_terminal(commands: Path, name: str) -> None:
    told = how(name, commands)
    assert told.splitlines()[1:] == [
        "  sh -c 'sudo apt-get update && sudo apt-get install -y PACKAGE &&",
        f"    {name} ...'",
    ]
    assert max(len(f"skylift: {line}") for line in told.splitlines()) <= 80


def test_a_python_tool_needs_no_package(commands: Path) -> None:
    assert "apt-get" in how("jupyter", commands)
    (commands / "uv").write_text("#!/bin/sh\n")
    (commands / "uv").chmod(0o755)
    assert how("jupyter", commands).splitlines()[1:] == ["  uv tool run jupyter ..."]
    assert "apt-get" in how("vim", commands)


def test_containers_do_not_run_here(commands: Path) -> None:
    first, second, *_ = how("docker", commands).splitlines()
    assert (first, second) == ("A server on this machine cannot run containers.", "To have it installed first on AWS:")


@pytest.mark.parametrize("name", ["ls -la", "./tool", "", "it's", "$(id)"])
def test_what_no_package_has_is_not_installed(commands: Path, name: str) -> None:
    assert how(name, commands) == ""


def test_an_image_without_a_way_to_install(tmp_path: Path) -> None:
    assert (why("vim", tmp_path), how("vim", tmp_path)) == ("There is no command vim on the server.", "")
    (tmp_path / "dnf").write_text("#!/bin/sh\n")
    (tmp_path / "sudo").write_text("#!/bin/sh\n")
    for name in ("dnf", "sudo"):
        (tmp_path / name).chmod(0o755)
    assert "sudo dnf install -y PACKAGE &&" in how("vim", tmp_path)


def test_the_server_says_so(shipped: Shipped, machine: Machine) -> None:
    shipped.ship_order(Order(Program("command", "nosuchcmd", ("-x",))))
    shipped.boot()
    machine.wait()
    status = shipped.status()
    assert (status["state"], status["exit_code"]) == ("failed", 127)
    assert status["reason"].startswith("There is no command nosuchcmd on the server.")
    assert status.get("program_seconds") is None
