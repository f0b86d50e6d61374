"""A bundle whose files are saved anew while jobs of it are still to start, as editors do: by rename."""

from __future__ import annotations

import io
import tarfile
import tempfile
from pathlib import Path

import pytest

from skylift.client.errors import UsageError
from skylift.client.job.job import Bundle
from skylift.client.ship import bundle as bundle_module
from skylift.client.ship.blob_store import large_files
from skylift.client.ship.bundle import plan_bundle
from skylift.client.ship.pack import pack_bundle
from skylift.client.ship.snapshot import renew, take_snapshot


def content(bundle: Bundle) -> dict[str, str]:
    found = {}
    with tempfile.TemporaryFile(buffering=0) as target:
        for pack in pack_bundle(bundle, target):
            with pack.blob.open() as packed, tarfile.open(fileobj=io.BytesIO(packed.read())) as whole:
                for each in whole:
                    file = whole.extractfile(each) if each.isfile() else None
                    found[each.name] = f"-> {each.linkname}" if file is None else file.read().decode()
    return found


def save(path: Path, text: str) -> None:
    new = path.with_name("new")
    new.write_text(text)
    new.replace(path)


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(bundle_module, "_LARGE", 100)
    found = tmp_path / "project"
    (found / "package").mkdir(parents=True)
    (found / "pyproject.toml").write_text("[project]\n")
    (found / "package/code.py").write_text("old")
    (found / "link.py").symlink_to("package/code.py")
    (found / "run").write_text("#!/bin/sh\n")
    (found / "run").chmod(0o700)
    (found / "data").write_text("old " * 100)
    return found


def planned(project: Path, tmp_path: Path) -> Bundle:
    folder = tmp_path / "snapshot"
    folder.mkdir()
    return take_snapshot(plan_bundle(project, project, [], []), folder)


def test_code_that_is_saved_by_rename_or_removed_is_sent_as_it_was(project: Path, tmp_path: Path) -> None:
    plain, taken = plan_bundle(project, project, [], []), planned(project, tmp_path)
    before = content(taken)
    assert content(plain) == before
    assert (before["package/code.py"], before["link.py"]) == ("old", "-> package/code.py")
    save(project / "package/code.py", "new")
    (project / "pyproject.toml").unlink()
    with (project / "run").open("a") as file:
        file.write("in place")
    assert content(renew(taken)) == before
    # Without a copy, no other job of it can be started.
    with pytest.raises(UsageError, match="cannot be read"):
        content(plain)


def test_modes_are_kept(project: Path, tmp_path: Path) -> None:
    taken = planned(project, tmp_path)
    with tempfile.TemporaryFile(buffering=0) as target:
        (pack,) = pack_bundle(taken, target)
        with pack.blob.open() as packed, tarfile.open(fileobj=io.BytesIO(packed.read())) as whole:
            assert (whole.getmember("run").mode, whole.getmember("package/code.py").mode) == (0o755, 0o644)


def test_large_files_are_sent_as_they_are_then(project: Path, tmp_path: Path) -> None:
    taken = planned(project, tmp_path)
    assert taken.large == {"data"}
    save(project / "data", "new " * 200)
    with pytest.raises(UsageError, match="it is not the file that it was"):
        large_files(taken)
    (found,) = large_files(renew(taken))
    assert found.blob.size == 800
    assert renew(taken).notes == ()


@pytest.mark.parametrize("how", ["removed", "a link", "a folder", "its folder is a link"])
def test_a_large_file_that_is_gone_keeps_no_later_server_away(project: Path, tmp_path: Path, how: str) -> None:
    """Each start of a worker of a Cluster failed, for ever, and tasks waited for it."""
    inner = project / "inner"
    inner.mkdir()
    (project / "data").rename(inner / "data")
    taken = planned(project, tmp_path)
    assert taken.large == {"inner/data"}
    before, aside = content(taken), tmp_path / "aside"
    inner.rename(aside)
    if how == "its folder is a link":
        inner.symlink_to(aside)
    else:
        inner.mkdir()
    if how == "a link":
        (inner / "data").symlink_to("/etc/passwd")
    if how == "a folder":
        (inner / "data").mkdir()
    later = renew(taken)
    assert large_files(later) == ()
    assert content(later) == before
    (note,) = later.notes
    assert "inner/data cannot be read any more, and is left out: " in note
