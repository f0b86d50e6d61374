"""The uv of the image that all users' servers start from is the one that is known, whatever the caller's pip brings."""

from __future__ import annotations

import hashlib
import io
import os
import shutil
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from skylift.catalogue.uv import VERSION, Wheel
from skylift.cloud.compute.image import uv
from skylift.cloud.compute.image.recipe import ImageRecipe, read_recipe
from skylift.cloud.compute.image.uv import ProgramUnavailable, fetch_uv
from skylift.cloud.state.person import Person

pytestmark = pytest.mark.real
"""Only root becomes another user."""

NOBODY = 65534
FILE = f"uv-{VERSION}-py3-none-manylinux2014_x86_64.whl"


class Index:
    """What the caller's pip is set up for: a folder of theirs that has one wheel."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / FILE

    def gives(self, program: bytes) -> Wheel:
        about = f"uv-{VERSION}.dist-info"
        with zipfile.ZipFile(self.file, "w") as archive:
            archive.writestr(f"uv-{VERSION}.data/scripts/uv", program)
            archive.writestr(f"{about}/METADATA", f"Metadata-Version: 2.1\nName: uv\nVersion: {VERSION}\n")
            archive.writestr(f"{about}/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-manylinux2014_x86_64\n")
            archive.writestr(f"{about}/RECORD", "")
        return Wheel(("manylinux2014_x86_64",), hashlib.sha256(self.file.read_bytes()).hexdigest())


@pytest.fixture
def index(monkeypatch: pytest.MonkeyPatch) -> Iterator[Index]:
    folder = Path(tempfile.mkdtemp(prefix="sky-"))
    folder.chmod(0o755)
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    yield Index(folder)
    shutil.rmtree(folder)


@pytest.fixture
def somebody(monkeypatch: pytest.MonkeyPatch) -> None:
    """The caller is another user than root. The interpreter of these tests may not be theirs to start."""
    monkeypatch.setenv("SUDO_UID", str(NOBODY))


def left() -> set[Path]:
    return set(Path(tempfile.gettempdir()).glob("skylift-uv-*"))


def test_the_one_that_is_known_is_roots_and_nothing_is_left(index: Index, tmp_path: Path) -> None:
    before = left()
    fetch_uv(index.gives(b"known"), tmp_path)
    found = (tmp_path / "uv").stat()
    assert (tmp_path / "uv").read_bytes() == b"known"
    assert (found.st_uid, found.st_mode & 0o777) == (0, 0o755)
    assert left() <= before


def test_another_one_of_the_same_version_is_refused(index: Index, tmp_path: Path) -> None:
    known = index.gives(b"known")
    index.gives(b"planted")
    with pytest.raises(ProgramUnavailable, match="not the one that is known"):
        fetch_uv(known, tmp_path)
    assert not (tmp_path / "uv").exists()


def test_a_wheel_that_is_exchanged_once_it_was_looked_at(
    index: Index, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By a program of the caller's that goes on: what was looked at is what is unpacked."""
    other = tmp_path / "other"
    other.mkdir()
    planted = Index(other)
    planted.gives(b"planted")
    known, places = index.gives(b"known"), list[Path]()
    run, unpacks = uv._run, zipfile.ZipFile

    def noted(command: list[str], place: Path, caller: Person) -> None:
        run(command, place, caller)
        places.append(place / FILE)

    def exchanged(file: str | Path | io.BytesIO) -> zipfile.ZipFile:
        for place in places:
            if place.parent.exists():
                shutil.copy(planted.file, place)
        return unpacks(file)

    monkeypatch.setattr(uv, "_run", noted)
    monkeypatch.setattr("zipfile.ZipFile", exchanged)
    fetch_uv(known, tmp_path)
    assert len(places) == 1
    assert (tmp_path / "uv").read_bytes() == b"known"


@pytest.mark.usefixtures("somebody")
@pytest.mark.parametrize("what", ["a link to what only root reads", "a pipe", "zeros without end", "nothing"])
def test_what_is_no_wheel_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str) -> None:
    secret = tmp_path / "secret"
    secret.write_bytes(b"root's")
    secret.chmod(0o600)

    def brings(command: list[str], place: Path, caller: Person) -> None:
        file = place / FILE
        if what == "a link to what only root reads":
            caller.act(lambda: file.symlink_to(secret))
        elif what == "a pipe":
            caller.act(lambda: os.mkfifo(file))
        elif what == "zeros without end":
            caller.act(lambda: file.symlink_to("/dev/zero"))

    monkeypatch.setattr(uv, "_LONGEST", 1 << 20)
    monkeypatch.setattr(uv, "_run", brings)
    with pytest.raises(ProgramUnavailable, match="not"):
        fetch_uv(Wheel(("any",), hashlib.sha256(b"root's").hexdigest()), tmp_path)
    assert not (tmp_path / "uv").exists()


@pytest.mark.usefixtures("somebody")
def test_root_removes_nothing_in_a_folder_that_became_a_link(
    index: Index, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = tmp_path / "roots"
    own.mkdir(mode=0o700)
    (own / FILE).write_bytes(b"root's")
    (own / "locked").mkdir(mode=0o500)
    own.chmod(0o755)

    def exchanges(command: list[str], place: Path, caller: Person) -> None:
        def deed() -> None:
            place.rmdir()
            place.symlink_to(own)

        caller.act(deed)
        places.append(place)

    places: list[Path] = []
    monkeypatch.setattr(uv, "_run", exchanges)
    try:
        with pytest.raises(ProgramUnavailable):
            fetch_uv(index.gives(b"known"), tmp_path)
        assert (own / FILE).read_bytes() == b"root's"
        assert (own / "locked").stat().st_mode & 0o777 == 0o500
    finally:
        for place in places:
            place.unlink()


def test_an_image_with_another_uv_is_another_image(monkeypatch: pytest.MonkeyPatch) -> None:
    before = read_recipe().image_id
    monkeypatch.setattr(ImageRecipe, "uv", Wheel(("any",), "0" * 64))
    assert read_recipe().image_id != before
