"""Bytecode that another Python of this machine makes for servers."""

from __future__ import annotations

import importlib.util
import marshal
import os
import sys
from pathlib import Path

import pytest

from skylift.runner.ship import bytecode
from skylift.runner.ship.bytecode import compile_all, compiled

SOURCES = {"a/one.py": "x = 1\n", "a/two.py": "def f():\n    return 2\n"}


@pytest.fixture
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The PATH, of a machine whose servers have another Python."""
    found = [tmp_path / name for name in ("first", "second")]
    for each in found:
        each.mkdir()
    monkeypatch.setenv("PATH", os.pathsep.join(["", *map(str, found), "/usr/bin", "/bin"]))
    monkeypatch.setattr(bytecode, "SERVERS_PYTHON", (9, 9))
    return found


def other_python(folder: Path, does: str) -> None:
    place = folder / "python9.9"
    place.write_text(f"#!/bin/sh\n{does}\n")
    place.chmod(0o755)


def works(folder: Path) -> str:
    return f'echo "$@" > {folder}/called; exec {sys.executable} "$@"'


def test_each_module_is_compiled() -> None:
    made = compile_all(SOURCES)
    assert made.keys() == SOURCES.keys()
    for place, data in made.items():
        assert data[:4] == importlib.util.MAGIC_NUMBER
        assert marshal.loads(data[16:]).co_filename == place


def test_the_python_that_servers_have_compiles_where_this_machine_has_it(folders: list[Path]) -> None:
    other_python(folders[0], works(folders[0]))
    assert compiled(SOURCES) == compile_all(SOURCES)
    assert (folders[0] / "called").read_text().split()[:2] == ["-I", "-S"]


@pytest.mark.parametrize(
    "does",
    [
        "exit 127",
        "kill -9 $$",
        "cat",
        "cat >/dev/null; echo b25l",
        "cat >/dev/null; echo no*base64 b25l",
        "exec 0<&-; echo b25l",
    ],
)
def test_one_that_does_not_work_is_passed_over(does: str, folders: list[Path]) -> None:
    other_python(folders[0], does)
    assert compiled(SOURCES) == compile_all(SOURCES)
    other_python(folders[1], works(folders[1]))
    assert compiled(SOURCES) == compile_all(SOURCES)
    assert (folders[1] / "called").exists()


def test_the_other_python_imports_nothing_of_the_users_own(
    folders: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other_python(folders[0], works(folders[0]))
    (tmp_path / "json.py").write_text(f"open({str(tmp_path / 'imported')!r}, 'w')\nraise SystemExit(1)\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    assert compiled(SOURCES) == compile_all(SOURCES)
    assert (folders[0] / "called").exists()
    assert not (tmp_path / "imported").exists()


def test_a_machine_without_it_compiles_for_its_own_python(folders: list[Path]) -> None:
    assert list(folders[0].iterdir()) == []
    assert compiled(SOURCES) == compile_all(SOURCES)
