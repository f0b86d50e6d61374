"""How skylift becomes root: the exact command, and what is said where there is no way."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import skylift
from skylift.client.errors import UsageError
from skylift.cloud.state import program
from skylift.cloud.state.home import Home
from skylift.cloud.state.program import own_python, passed_by_sudo
from skylift.place.privilege import root_command, run_as_root


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path)


def fake_sudo(directory: Path, body: str) -> None:
    """A sudo of our own: what reaches it is what matters here."""
    (directory / "sudo").write_text(f"#!{sys.executable}\nimport json, os, pathlib, sys\n{body}\n")
    (directory / "sudo").chmod(0o755)


EXECUTES = (
    *("PYTHONPATH", "PYTHONHOME", "PYTHONSTARTUP", "PYTHONUSERBASE", "PYTHONINSPECT", "PYTHONBREAKPOINT"),
    *("LD_PRELOAD", "LD_LIBRARY_PATH", "LD_AUDIT", "GCONV_PATH", "LOCPATH", "OPENSSL_CONF", "TERMINFO"),
    *("PATH", "BASH_ENV", "ENV", "IFS", "SHELLOPTS", "PERL5LIB", "PERL5OPT", "TAR_OPTIONS", "GZIP", "TMPDIR"),
    *("APT_CONFIG", "DPKG_ROOT", "GIT_CONFIG_GLOBAL", "GIT_SSH_COMMAND", "EDITOR", "PAGER", "AWS_DATA_PATH"),
)
"""Each has Python, the loader, a shell, Perl, tar, apt, dpkg, git or botocore run or read something else."""


def test_the_command_is_absolute_and_names_what_passes() -> None:
    command = root_command("/usr/bin/sudo", ["cloud", "up", "--port", "4521"])
    assert command[0] == "/usr/bin/sudo"
    assert command[1] == f"--preserve-env={','.join(passed_by_sudo())}"
    assert command[2:] == ["--", *own_python("skylift.cli.main"), "cloud", "up", "--port", "4521"]
    assert command[3:5] == [sys.executable, "-I"]
    assert Path(sys.executable).is_absolute()
    assert not {*EXECUTES} & {*passed_by_sudo()}
    assert not [name for name in passed_by_sudo() if "SECRET" in name or name.startswith(("LD_", "PYTHON"))]


@pytest.fixture
def planted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A module that every Python imports by itself, and one in the place of Python's own, where the caller has Python
    look for modules; they leave a mark."""
    lib, mark = tmp_path / "lib", tmp_path / "ran"
    lib.mkdir()
    for name in ("sitecustomize", "usercustomize", "runpy", "json"):
        (lib / f"{name}.py").write_text(f"open({str(mark)!r}, 'a').write({name!r})\n")
    monkeypatch.setenv("PYTHONPATH", str(lib))
    monkeypatch.chdir(lib)
    return mark


@pytest.mark.parametrize("elsewhere", [False, True])
def test_nothing_of_the_callers_is_imported(
    planted: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, elsewhere: bool
) -> None:
    """As sudo would start it that lets everything through; in Python's own place, and from a checkout."""
    subprocess.run([sys.executable, "-P", "-c", ""], check=True)
    assert planted.read_text() == "sitecustomize"
    planted.unlink()
    if not elsewhere:
        monkeypatch.setattr("site.getsitepackages", lambda: [str(Path(skylift.__file__).parents[1])])
    sudo = tmp_path / "sudo"
    sudo.write_text('#!/bin/sh\nshift 2\nexec "$@"\n')
    sudo.chmod(0o755)
    command = root_command(str(sudo), ["--version"])
    assert ("-m" in command) is not elsewhere
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, f"skylift {skylift.__version__}\n"), done.stderr
    assert not planted.exists()


def test_a_checkout_is_found_where_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By a Python that has no other way to this package than the command line."""
    bare = os.path.realpath(sys.executable)
    monkeypatch.setattr(sys, "executable", bare)
    without = subprocess.run([bare, "-I", "-m", "skylift.version"], capture_output=True, check=False, cwd=tmp_path)
    assert without.returncode == 1
    subprocess.run(own_python("skylift.version"), check=True, cwd=tmp_path)


def test_the_clouds_process_has_settings_and_nothing_that_executes(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (*EXECUTES, "HOME", "SUDO_UID", "https_proxy", "PIP_INDEX_URL"):
        monkeypatch.setenv(name, f"/home/theirs/{name}")
    for made in (program.cloud_environment(), program.own_environment(), program.apt_environment()):
        assert not {*EXECUTES} - {"PATH"} & {*made}
        assert "/home/theirs" not in made["PATH"] or os.geteuid() != 0
        assert made["LC_ALL"] == "C.UTF-8"
    assert program.cloud_environment()["PIP_INDEX_URL"] == "/home/theirs/PIP_INDEX_URL"
    assert program.apt_environment()["https_proxy"] == "/home/theirs/https_proxy"
    assert {*program.own_environment()} == {"PATH", "LC_ALL"}


def test_arguments_and_exit_code_pass_unchanged(home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    note = tmp_path / "note"
    fake_sudo(tmp_path, f"pathlib.Path({str(note)!r}).write_text(json.dumps(sys.argv[1:])); sys.exit(125)")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert run_as_root(home, ["cloud", "up", "a b; touch /x"]) == 125
    assert json.loads(note.read_text())[-3:] == ["cloud", "up", "a b; touch /x"]


def test_no_sudo_is_said(home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UsageError, match="needs root, and there is no sudo") as failure:
        run_as_root(home, ["setup"])
    assert failure.value.exit_code == 2
    assert failure.value.advice


def test_a_sudo_that_refuses_is_said(home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_sudo(tmp_path, "sys.exit(1)")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UsageError, match="sudo did not let"):
        run_as_root(home, ["setup"])
