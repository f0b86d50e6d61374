"""What is kept is what was made; whatever becomes of the files."""

from __future__ import annotations

import ast
import io
import marshal
import os
import zipfile
from pathlib import Path
from typing import Any

import pytest

from skylift.client.job.cache import NOWHERE, Cache
from skylift.client.ship.archive import boot_archive, whole_archive


class Maker:
    def __init__(self, *answers: bytes) -> None:
        self.answers = list(answers)

    def __call__(self) -> bytes:
        return self.answers.pop(0)


def test_it_is_made_once(tmp_path: Path) -> None:
    make = Maker(b"one\ntwo\n")
    for _ in range(2):
        assert Cache(tmp_path / "cache").get("thing", "source", make) == b"one\ntwo\n"
    assert [each.name for each in (tmp_path / "cache").iterdir()] == ["thing"]


def test_nobody_else_can_put_anything_there(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        Cache(tmp_path / "home" / "cache").get("thing", "source", Maker(b"made"))
    finally:
        os.umask(before)
    modes = [path.stat().st_mode & 0o777 for path in (tmp_path / "home", tmp_path / "home/cache")]
    assert modes == [0o700, 0o700]


def test_from_something_else_it_is_made_anew(tmp_path: Path) -> None:
    make = Maker(b"old", b"new")
    cache = Cache(tmp_path)
    assert cache.get("thing", "source", make) == b"old"
    assert cache.get("thing", "other source", make) == b"new"
    assert cache.get("thing", "other source", make) == b"new"


@pytest.mark.parametrize("damage", [b"", b"source", b"source 123\nthing", b"\xff\xfe"])
def test_a_damaged_one_is_made_anew(tmp_path: Path, damage: bytes) -> None:
    cache = Cache(tmp_path)
    cache.get("thing", "source", Maker(b"right"))
    (tmp_path / "thing").write_bytes(damage)
    assert cache.get("thing", "source", Maker(b"right")) == b"right"
    assert cache.get("thing", "source", Maker()) == b"right"


def test_one_that_was_cut_off_is_made_anew(tmp_path: Path) -> None:
    cache = Cache(tmp_path)
    cache.get("thing", "source", Maker(b"a long thing"))
    whole = (tmp_path / "thing").read_bytes()
    (tmp_path / "thing").write_bytes(whole[:-1])
    assert cache.get("thing", "source", Maker(b"a long thing")) == b"a long thing"


def test_where_nothing_can_be_written_it_is_made_every_time(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for cache in (NOWHERE, Cache(tmp_path / "file" / "cache")):
        make = Maker(b"first", b"second")
        assert [cache.get("thing", "source", make) for _ in range(2)] == [b"first", b"second"]


def test_what_cannot_be_replaced_leaves_nothing_behind(tmp_path: Path) -> None:
    (tmp_path / "thing" / "in the way").mkdir(parents=True)
    assert Cache(tmp_path).get("thing", "source", Maker(b"made")) == b"made"
    assert [each.name for each in tmp_path.iterdir()] == ["thing"]


def content(archive: bytes) -> dict[str, object]:
    """The modules, and the code that each was compiled to: how marshal writes that depends on what else in this process
    uses the same names."""
    with zipfile.ZipFile(io.BytesIO(archive)) as whole:
        found = {name: whole.read(name) for name in whole.namelist()}
    return {name: marshal.loads(data[16:]) if name.endswith(".pyc") else data for name, data in found.items()}


def test_a_supervisor_from_the_cache_is_the_one_that_would_be_made(tmp_path: Path) -> None:
    for _ in range(2):
        # Each with an object of its own, so that the second one is read.
        assert content(whole_archive(Cache(tmp_path))) == content(whole_archive())
        assert boot_archive(Cache(tmp_path)) == boot_archive()
    assert sorted(each.name for each in tmp_path.iterdir()) == ["boot.zip", "supervisor.zip"]


def test_a_process_parses_each_module_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever parses in another thread at the same time fails, or makes us fail (CPython 3.11)."""
    boot_archive(NOWHERE)
    whole_archive(NOWHERE)
    parsed: list[str] = []
    parse = ast.parse

    def counted(source: str, *arguments: Any, **options: Any) -> Any:
        parsed.append(source)
        return parse(source, *arguments, **options)

    monkeypatch.setattr(ast, "parse", counted)
    for number in range(5):
        boot_archive(Cache(tmp_path / str(number)))
        whole_archive(Cache(tmp_path / str(number)))
    assert not parsed


def test_a_program_that_runs_many_jobs_has_not_as_many_archives(tmp_path: Path) -> None:
    for _ in range(8):
        boot_archive(Cache(tmp_path))
        whole_archive(Cache(tmp_path))
    assert boot_archive.cache_info().currsize < 8
    assert whole_archive.cache_info().currsize < 8
