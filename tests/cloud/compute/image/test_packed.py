"""An image as a file: what is packed is unpacked the same, and what is not the image is refused whole."""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import subprocess
import tarfile
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from skylift.cloud.compute.image.image import (
    BuildFailed,
    BuiltImage,
    WrongImage,
    built_images,
    default_image,
    ensure_image,
)
from skylift.cloud.compute.image.packed import PackedImage, pack_command
from skylift.cloud.compute.image.recipe import read_recipe
from skylift.cloud.compute.image.stored import STORED
from skylift.cloud.state.data import Data

RECIPE = read_recipe()


@pytest.fixture
def data(tmp_path: Path) -> Data:
    return Data(tmp_path / "data" / "1000" / "cloud")


def take(data: Data, content: bytes, digest: str = "") -> BuiltImage:
    packed = PackedImage(io.BytesIO(content), digest or hashlib.sha256(content).hexdigest())
    return ensure_image(data, lambda _fraction, _text: None, packed=packed)


def archive(fill: Callable[[tarfile.TarFile], None], label: str = RECIPE.image_id) -> bytes:
    written = io.BytesIO()
    headers = {"GNU.volume.label": label}
    with tarfile.open(fileobj=written, mode="w:gz", format=tarfile.PAX_FORMAT, pax_headers=headers) as tar:
        folder = tarfile.TarInfo(".")
        folder.type, folder.mode = tarfile.DIRTYPE, 0o755
        tar.addfile(folder)
        fill(tar)
    return written.getvalue()


def add(tar: tarfile.TarFile, name: str, content: bytes = b"planted", **more: object) -> None:
    entry = tarfile.TarInfo(f"./{name}")
    entry.size = len(content)
    for key, value in more.items():
        setattr(entry, key, value)
    tar.addfile(entry, io.BytesIO(content))


def nothing(_tar: tarfile.TarFile) -> None:
    pass


@pytest.fixture
def built(tmp_path: Path) -> BuiltImage:
    """One with what an image may have: owners, programs that become their owner, links, and attributes."""
    root = tmp_path / "images" / RECIPE.image_id / "root"
    (root / "usr").mkdir(parents=True)
    (root / "usr/program").write_bytes(b"\x7fELF")
    (root / "usr/link").symlink_to("/usr/program")
    os.link(root / "usr/program", root / "usr/second")
    for path, owner in ((root, 0), (root / "usr", 0), (root / "usr/link", 0), (root / "usr/program", 1000)):
        os.chown(path, STORED + owner, STORED + owner, follow_symlinks=False)
    (root / "usr/program").chmod(0o4755)
    os.setxattr(root / "usr/program", "user.note", b"kept")
    when = datetime.now(UTC)
    return BuiltImage(RECIPE.image_id, "a", "b", RECIPE.architecture, when, 0, root)


@pytest.mark.real
def test_an_image_that_is_packed_is_unpacked_the_same_elsewhere(data: Data, built: BuiltImage) -> None:
    done = subprocess.run(pack_command(built.root), capture_output=True, check=True)
    again = subprocess.run(pack_command(built.root), capture_output=True, check=True)
    assert again.stdout == done.stdout, "a cache that goes by the digest would have it twice"
    found = take(data, done.stdout)
    assert (found.id, found.root.parent.parent) == (built.id, data.images)
    assert default_image(data) == found
    program, second = found.root / "usr/program", found.root / "usr/second"
    facts = program.stat()
    assert (facts.st_mode & 0o7777, facts.st_uid, facts.st_gid) == (0o4755, STORED + 1000, STORED + 1000)
    assert facts.st_ino == second.stat().st_ino
    assert os.getxattr(program, "user.note") == b"kept"
    assert (found.root / "usr/link").readlink() == Path("/usr/program")
    assert found.root.parent.stat().st_mode & 0o777 == 0o700
    assert [each.name for each in found.root.parent.iterdir()] == ["root"]


@pytest.mark.real
@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "does not have"),
        (b"no archive at all", "does not have"),
        (archive(nothing, "ami-00000000000000000"), f"does not have {RECIPE.image_id}"),
        (archive(nothing)[:-12], "does not have|ended with exit code"),
    ],
    ids=["empty", "no archive", "of another version", "cut off"],
)
def test_a_file_without_the_image_is_refused_and_nothing_is_left(data: Data, content: bytes, words: str) -> None:
    with pytest.raises((WrongImage, BuildFailed), match=words):
        take(data, content)
    assert built_images(data) == []
    assert not [*data.images.glob("*ami-*"), *data.images.glob(".building-*")]


@pytest.mark.real
def test_a_file_that_was_changed_is_not_even_unpacked(data: Data) -> None:
    with pytest.raises(WrongImage, match="its SHA-256 is"):
        take(data, archive(nothing), "0" * 64)
    assert not [*data.images.glob("*ami-*"), *data.images.glob("*.log")]


def through_a_link(tar: tarfile.TarFile, place: Path) -> None:
    add(tar, "way", b"", type=tarfile.SYMTYPE, linkname=str(place))
    add(tar, "way/planted")


def by_dots(tar: tarfile.TarFile, place: Path) -> None:
    add(tar, f"{'../' * 30}{place}/planted")


def by_its_whole_path(tar: tarfile.TarFile, place: Path) -> None:
    entry = tarfile.TarInfo(f"{place}/planted")
    entry.size = 1
    tar.addfile(entry, io.BytesIO(b"x"))


def by_what_is_left_of_a_path(tar: tarfile.TarFile, place: Path) -> None:
    entry = tarfile.TarInfo(f"{RECIPE.image_id}/root/{place}/planted")
    entry.size = 1
    tar.addfile(entry, io.BytesIO(b"x"))


def by_a_second_name(tar: tarfile.TarFile, place: Path) -> None:
    add(tar, "name", b"", type=tarfile.LNKTYPE, linkname=f"{place}/secret")
    add(tar, "name", b"overwritten")


@pytest.mark.real
@pytest.mark.parametrize(
    "plant", [through_a_link, by_dots, by_its_whole_path, by_what_is_left_of_a_path, by_a_second_name]
)
def test_a_hostile_file_writes_nothing_outside_of_the_image(
    data: Data, tmp_path: Path, plant: Callable[[tarfile.TarFile, Path], None]
) -> None:
    """Its digest is right: it stands beside the file, and who changes one changes both."""
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret").write_text("as it was")
    try:
        take(data, archive(lambda tar: plant(tar, outside)))
    except BuildFailed:
        assert built_images(data) == []
    assert [(each.name, each.read_text()) for each in outside.iterdir()] == [("secret", "as it was")]


@pytest.mark.real
def test_folders_in_folders_keep_nobody_from_the_next_build(data: Data) -> None:
    def fill(tar: tarfile.TarFile) -> None:
        add(tar, f"{'a/' * 1500}file")
        add(tar, "../refused")

    with pytest.raises(BuildFailed):
        take(data, archive(fill))
    assert not [*data.images.glob(".building-*")]


@pytest.mark.real
def test_headers_of_headers_are_no_image(data: Data) -> None:
    header = tarfile.TarInfo("././@LongLink")
    header.type, header.size = tarfile.GNUTYPE_LONGNAME, 2
    one = header.tobuf(tarfile.GNU_FORMAT) + b"a".ljust(512, b"\0")
    with pytest.raises(WrongImage, match="does not have"):
        take(data, gzip.compress(one * 2000))
