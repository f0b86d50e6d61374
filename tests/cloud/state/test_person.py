"""Root at work in a user's directories: with the user's rights, and in one thread."""

from __future__ import annotations

import os
import shutil
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from skylift.cloud.state.person import Person, calling_user

pytestmark = pytest.mark.real
"""All of it takes root."""

SOMEBODY = Person(54321, 54322, "nobody-known-here", Path("/nonexistent"))


@pytest.fixture
def theirs() -> Iterator[Path]:
    """A directory of that person's, which they can reach."""
    # Not pytest's own: those are root's alone.
    place = Path(tempfile.mkdtemp(prefix="sky-"))
    os.chown(place, SOMEBODY.uid, SOMEBODY.gid)
    yield place
    shutil.rmtree(place)


def test_what_is_made_is_theirs(theirs: Path) -> None:
    SOMEBODY.act(lambda: (theirs / "file").write_text("words"))
    found = (theirs / "file").stat()
    assert (found.st_uid, found.st_gid) == (SOMEBODY.uid, SOMEBODY.gid)


def test_a_link_leads_to_nothing_that_they_may_not_read_or_write(theirs: Path, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("root's")
    secret.chmod(0o600)
    (theirs / "link").symlink_to(secret)
    with pytest.raises(PermissionError):
        SOMEBODY.act((theirs / "link").read_text)
    with pytest.raises(PermissionError):
        SOMEBODY.act(lambda: (theirs / "link").write_text("theirs"))
    with pytest.raises(PermissionError):
        SOMEBODY.act(lambda: os.chown(theirs, 0, 0))
    assert secret.read_text() == "root's"


def test_rights_of_groups_and_capabilities_are_given_up_too(tmp_path: Path) -> None:
    def status() -> dict[str, str]:
        text = Path(f"/proc/self/task/{threading.get_native_id()}/status").read_text()
        return dict(line.split(":\t", 1) for line in text.splitlines() if ":\t" in line)

    inside = SOMEBODY.act(status)
    assert inside["Groups"].split() == [str(SOMEBODY.gid)]
    assert {int(inside[name], 16) for name in ("CapEff", "CapPrm", "CapInh")} == {0}
    # Neither signals nor traces: those go by these ids.
    assert inside["Uid"].split() == ["0", "0", "0", str(SOMEBODY.uid)]


def test_the_rest_of_the_process_stays_roots(theirs: Path, tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError):
        SOMEBODY.act(lambda: 1 // 0)
    (tmp_path / "file").touch()
    os.chown(tmp_path / "file", 1, 1)
    assert os.geteuid() == 0


def test_root_acts_as_root() -> None:
    assert calling_user({}).act(threading.get_native_id) == threading.get_native_id()
