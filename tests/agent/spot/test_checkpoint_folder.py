"""A folder that goes into an archive and comes out of it, and archives that nobody should believe."""

from __future__ import annotations

import io
import os
import random
import socket
import stat
import subprocess
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
from support.deep_tree import lengthen

from skylift.agent.spot.checkpoint_archive import CannotCheckpoint, CheckpointUnpacking, Damaged, Owner, pack, walk

ME = Owner(os.getuid(), os.getgid())


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    found = tmp_path / "state"
    found.mkdir()
    return found


def packed(folder: Path) -> Path:
    archive = folder.with_name("archive")
    with archive.open("wb") as file:
        pack(folder, file)
    return archive


def unpacked(archive: Path, top: Path) -> Path:
    place = archive.with_name("unpacked")
    CheckpointUnpacking(archive, place, (str(top),), ME).run()
    return place


def told(top: Path) -> dict[str, object]:
    """All that is to come back, by its place; files of one number by the first of their names."""
    found: dict[str, object] = {}
    first: dict[int, str] = {}
    for inner, seen in walk(str(top)):
        full = top / inner
        content: object = None
        if stat.S_ISREG(seen.st_mode):
            content = (full.read_bytes(), first.setdefault(seen.st_ino, inner))
        elif stat.S_ISLNK(seen.st_mode):
            content = os.readlink(full)
        mode = None if stat.S_ISLNK(seen.st_mode) else seen.st_mode
        found[inner] = (mode, seen.st_mtime_ns, content)
    return found


def test_everything_comes_back_as_it_was(folder: Path) -> None:
    for step in ("step-1", "step-2"):
        (folder / step / "empty").mkdir(parents=True)
        (folder / step / "model").write_bytes(os.urandom(70_000))
    (folder / "latest").symlink_to("step-2")
    (folder / "step-2/back").symlink_to("../step-1/model")
    (folder / "dangling").symlink_to("step-3")
    (folder / "absolute").symlink_to(folder / "step-1")
    os.link(folder / "step-1/model", folder / "step-2/same")
    (folder / "step-1/model").chmod(0o640)
    (folder / "step-1").chmod(0o500)
    (folder / ("n" * 250)).write_text("long")
    (folder / "caf\udce9 \n.txt").write_text("no UTF-8")
    os.utime(folder / "step-2/model", ns=(1, 1_700_000_000_123_456_789))
    os.utime(folder / "step-1", ns=(1, 1_600_000_000_000_000_001))
    os.utime(folder / "latest", ns=(1, 1_500_000_000_000_000_007), follow_symlinks=False)
    os.utime(folder / ("n" * 250), ns=(1, -1_500_000_001))
    before = told(folder)
    assert told(unpacked(packed(folder), folder)) == before


def test_holes_stay_holes_and_cost_nothing(folder: Path) -> None:
    with (folder / "data.mdb").open("wb") as file:
        for place in (0, 8 << 20, 3 << 30):
            file.seek(place)
            file.write(os.urandom(5000))
        file.truncate(1 << 40)
    with (folder / "all hole").open("wb") as file:
        file.truncate(1 << 30)
    if (folder / "data.mdb").stat().st_blocks > 1000:
        pytest.fail("this file system has no holes")
    archive = packed(folder)
    assert archive.stat().st_size < 1 << 20
    place = unpacked(archive, folder)
    for name in ("data.mdb", "all hole"):
        old, new = (folder / name).stat(), (place / name).stat()
        assert (new.st_size, new.st_mtime_ns) == (old.st_size, old.st_mtime_ns)
        assert new.st_blocks * 512 < 1 << 20
    with (folder / "data.mdb").open("rb") as old_file, (place / "data.mdb").open("rb") as new_file:
        for start in (0, 8 << 20, 3 << 30):
            old_file.seek(start)
            new_file.seek(start)
            assert old_file.read(8192) == new_file.read(8192)
    listed = subprocess.run(["tar", "-tvf", archive], capture_output=True, text=True, check=True).stdout
    assert f"{1 << 40}" in listed, "GNU tar reads it, too"


def a_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(str(path))


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda path: path.symlink_to("/etc/passwd"), "a link to /etc/passwd, which is not in"),
        (lambda path: path.symlink_to("../other"), "a link to ../other"),
        (lambda path: path.symlink_to("../state-2"), "a link to ../state-2"),
        (os.mkfifo, "is a FIFO"),
        (a_socket, "is a socket"),
    ],
)
def test_what_cannot_come_back_is_refused_by_name(folder: Path, make: Callable[[Path], None], words: str) -> None:
    make(folder / "it")
    with pytest.raises(CannotCheckpoint, match=words) as error:
        packed(folder)
    assert str(error.value).startswith("it ")


def test_a_link_that_leads_out_by_way_of_another_is_refused(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    (folder / "deep/er").mkdir(parents=True)
    (folder / "inner").symlink_to("deep/er")
    (folder / "it").symlink_to("inner/../../../other")
    with pytest.raises(CannotCheckpoint):
        packed(folder)


def test_the_longest_path_comes_back(folder: Path) -> None:
    lengthen(folder, 4_000)
    try:
        place = unpacked(packed(folder), folder)
        before, after = list(walk(str(folder))), list(walk(str(place)))
        assert [inner for inner, _ in after] == [inner for inner, _ in before]
        assert len(after[-1][0]) > 3_800
    finally:
        subprocess.run(["rm", "-rf", folder, folder.with_name("unpacked")], check=True)


@pytest.mark.parametrize("end", ["model", "0"])
def test_links_that_lead_on_from_each_other_are_followed_as_the_kernel_does(folder: Path, end: str) -> None:
    """A program can make more of them than Python can call functions in each other; also in a circle."""
    (folder / "model").write_text("1")
    for number in range(3_000):
        (folder / str(number)).symlink_to(str(number + 1) if number < 2_999 else end)
    before = told(folder)
    assert told(unpacked(packed(folder), folder)) == before


# Archives of others.


def entry(name: str, kind: bytes = tarfile.REGTYPE, link: str = "", **more: object) -> tarfile.TarInfo:
    made = tarfile.TarInfo(name)
    made.type, made.linkname = kind, link
    for each, value in more.items():
        setattr(made, each, value)
    return made


TOP = entry(".", tarfile.DIRTYPE, mode=0o755)
HOSTILE = {
    "a link, and a file through it": [entry("out", tarfile.SYMTYPE, ".."), entry("out/planted")],
    "a folder that is a link": [entry("out", tarfile.SYMTYPE, "."), entry("out", tarfile.DIRTYPE), entry("out/x")],
    "a link out": [entry("out", tarfile.SYMTYPE, "../x")],
    "a link by its whole name": [entry("out", tarfile.SYMTYPE, "/etc")],
    "another name of a file outside": [entry("x", tarfile.LNKTYPE, "../secret")],
    "another name by its whole name": [entry("x", tarfile.LNKTYPE, "/etc/passwd")],
    "another name of a link": [entry("l", tarfile.SYMTYPE, "x"), entry("x", tarfile.LNKTYPE, "l")],
    "another name of nothing": [entry("x", tarfile.LNKTYPE, "y")],
    "a whole name": [entry("/tmp/planted")],
    "above": [entry("../planted")],
    "above, further down": [entry("d", tarfile.DIRTYPE), entry("d/../../planted")],
    "no folder of its own": [entry("d/x")],
    "twice": [entry("x"), entry("x")],
    "the top twice": [entry(".", tarfile.DIRTYPE)],
    "a device": [entry("null", tarfile.CHRTYPE, devmajor=1, devminor=3)],
    "a FIFO": [entry("fifo", tarfile.FIFOTYPE)],
    "a file for its top": [],
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_nothing_leaves_its_folder(folder: Path, tmp_path: Path, kind: str) -> None:
    archive = tmp_path / "archive"
    (tmp_path / "secret").write_text("a secret")
    with tarfile.open(archive, "w") as tar:
        tar.addfile(TOP if HOSTILE[kind] else entry("."))
        for each in HOSTILE[kind]:
            tar.addfile(each)
    before = sorted(path for path in tmp_path.rglob("*"))
    with pytest.raises(Damaged):
        unpacked(archive, folder)
    place = tmp_path / "unpacked"
    assert sorted(path for path in tmp_path.rglob("*") if path != place and place not in path.parents) == before
    assert (tmp_path / "secret").stat().st_nlink == 1


def test_no_right_that_was_not_asked_for_comes_along(folder: Path, tmp_path: Path) -> None:
    archive = tmp_path / "archive"
    with tarfile.open(archive, "w") as tar:
        tar.addfile(TOP)
        tar.addfile(entry("su", mode=0o6755, uid=0, gid=0))
    found = (unpacked(archive, folder) / "su").stat()
    assert (stat.S_IMODE(found.st_mode), found.st_uid) == (0o755, ME.uid)


def test_a_table_of_holes_does_not_make_much_of_little(folder: Path, tmp_path: Path) -> None:
    """Each part of a file may name the same bytes once more."""
    table = b"".join(b"%d\n" % number for number in (300, *(n for _ in range(300) for n in (0, 1 << 20))))
    table += bytes(-len(table) % 512)
    archive = tmp_path / "archive"
    with tarfile.open(archive, "w", format=tarfile.PAX_FORMAT) as tar:
        tar.addfile(TOP)
        made = entry("x", size=len(table) + (1 << 20))
        made.pax_headers = {"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.realsize": str(1 << 20)}
        tar.addfile(made, io.BytesIO(table + bytes(1 << 20)))
    with pytest.raises(Damaged, match="larger than the whole"):
        unpacked(archive, folder)


def test_any_damage_is_damage(folder: Path, tmp_path: Path) -> None:
    (folder / "sub").mkdir()
    (folder / "sub/model").write_bytes(bytes(range(256)) * 8)
    (folder / "latest").symlink_to("sub")
    os.link(folder / "sub/model", folder / "same")
    with (folder / "hole").open("wb") as file:
        file.truncate(1 << 20)
        file.write(b"x")
    whole = packed(folder).read_bytes()
    chance = random.Random(7)
    for number in range(100):
        body = bytearray(whole)
        for _ in range(chance.randint(1, 4)):
            body[chance.randrange(len(body))] = chance.randrange(256)
        if number % 10 == 0:
            del body[chance.randrange(len(body)) :]
        for at in range(0, len(body) - 511, 512):  # headers that are damaged and fit
            if body[at + 257 : at + 262] == b"ustar":
                body[at + 148 : at + 156] = b" " * 8
                body[at + 148 : at + 156] = b"%06o\0 " % sum(body[at : at + 512])
        archive = tmp_path / "archive"
        archive.write_bytes(body)
        try:
            place = unpacked(archive, folder)
        except Damaged:
            place = tmp_path / "unpacked"
        subprocess.run(["rm", "-rf", place], check=True)
        assert sorted(each.name for each in tmp_path.iterdir()) == ["archive", "state"]
