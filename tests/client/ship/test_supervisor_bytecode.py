"""Bytecode that another Python of this machine makes for servers."""

from __future__ import annotations

import importlib.util
import marshal
import os
import sys
from pathlib import Path

import pytest
from support.agent_bench import until

from skylift.client.job.cache import Cache
from skylift.client.ship import supervisor_bytecode
from skylift.client.ship.archive import whole_archive
from skylift.client.ship.supervisor_bytecode import compile_all, compiled

SOURCES = {"a/one.py": "x = 1\n", "a/two.py": "def f():\n    return 2\n"}


@pytest.fixture
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The PATH, of a machine whose servers have another Python."""
    found = [tmp_path / name for name in ("first", "second")]
    for each in found:
        each.mkdir()
    monkeypatch.setenv("PATH", os.pathsep.join(["", *map(str, found), "/usr/bin", "/bin"]))
    monkeypatch.setattr(supervisor_bytecode, "SERVERS_PYTHON", (9, 9))
    # No Python of these tests is late on a busy machine.
    monkeypatch.setattr(supervisor_bytecode, "_PATIENCE", 300.0)
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
    assert compiled(SOURCES) == (compile_all(SOURCES), True)
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
    assert compiled(SOURCES) == (compile_all(SOURCES), True)
    other_python(folders[1], works(folders[1]))
    assert compiled(SOURCES) == (compile_all(SOURCES), True)
    assert (folders[1] / "called").exists()


def test_the_other_python_imports_nothing_of_the_users_own(
    folders: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other_python(folders[0], works(folders[0]))
    (tmp_path / "json.py").write_text(f"open({str(tmp_path / 'imported')!r}, 'w')\nraise SystemExit(1)\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    assert compiled(SOURCES) == (compile_all(SOURCES), True)
    assert (folders[0] / "called").exists()
    assert not (tmp_path / "imported").exists()


def test_a_machine_without_it_compiles_for_its_own_python(folders: list[Path]) -> None:
    assert list(folders[0].iterdir()) == []
    assert compiled(SOURCES) == (compile_all(SOURCES), True)


def test_a_program_of_the_project_is_never_taken_for_it(
    folders: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A relative folder of the PATH is another one in each project."""
    other_python(tmp_path, works(tmp_path))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", f".:..:{os.environ['PATH']}")
    assert compiled(SOURCES) == (compile_all(SOURCES), True)
    assert not (tmp_path / "called").exists()


def test_all_that_hang_have_one_limit_and_leave_no_process(
    folders: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervisor_bytecode, "_PATIENCE", 1.0)
    for each in folders:
        other_python(each, f"sleep 1000 & echo $! > {each}/child; wait")
    made, is_final = compiled(SOURCES)
    assert (made, is_final) == (compile_all(SOURCES), False)
    until(lambda: not is_running(folders[0] / "child"), "the end of its process")
    # The first one has had all of the time.
    assert not (folders[1] / "child").exists()


def is_running(child: Path) -> bool:
    """A zombie has ended: its parent has to look."""
    try:
        words = Path(f"/proc/{int(child.read_text())}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError, ValueError):
        return False
    return words.rpartition(")")[2].split()[0] != "Z"


def test_each_program_is_tried_once(folders: list[Path]) -> None:
    other_python(folders[0], f"echo x >> {folders[0]}/called; exit 1")
    (folders[1] / "python9.9").symlink_to(folders[0] / "python9.9")
    assert compiled(SOURCES) == (compile_all(SOURCES), True)
    assert (folders[0] / "called").read_text() == "x\n"


def test_what_was_made_after_a_timeout_is_made_anew_by_the_next_process(
    folders: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(supervisor_bytecode, "_PATIENCE", 0.5)
        other_python(folders[0], "sleep 1000")
        cache = Cache(tmp_path / "cache")
        made = whole_archive(cache)
    other_python(folders[0], works(folders[0]))
    # A run has one archive, whose digest it tells its server.
    assert whole_archive(cache) is made
    assert not (folders[0] / "called").exists()
    whole_archive(Cache(tmp_path / "cache"))
    (folders[0] / "called").unlink()
    whole_archive(Cache(tmp_path / "cache"))
    assert not (folders[0] / "called").exists()
