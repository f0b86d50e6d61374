"""Packs of inputs on the server: what is in one is what the record says, and nothing goes anywhere else."""

from __future__ import annotations

import gzip
import io
import os
import pwd
import tarfile
from pathlib import Path

import pytest

from skylift.agent.environment.unpack import Unpacking
from skylift.agent.job.outcome import Ended
from skylift.agent.machine.remove_tree import remove_below
from skylift.contract.record import Pack


class Packed:
    def __init__(self, base: Path) -> None:
        self.place, self._base, self._count = base / "home" / "job", base, 0
        self.unpacking = Unpacking(self.place, pwd.getpwuid(os.geteuid()))

    def unpack(self, *entries: tarfile.TarInfo | tuple[str, bytes], files: int = -1, size: int = -1) -> Path:
        """A pack of these; `files` and `size` are as they are unless the record says otherwise."""
        whole = io.BytesIO()
        with tarfile.open(fileobj=whole, mode="w:gz") as tar:
            for each in entries:
                entry, data = (each, b"") if isinstance(each, tarfile.TarInfo) else (tarfile.TarInfo(each[0]), each[1])
                entry.size = len(data)
                tar.addfile(entry, io.BytesIO(data))
        sizes = [len(each[1]) for each in entries if isinstance(each, tuple)]
        return self.unpack_bytes(
            whole.getvalue(), len(entries) if files < 0 else files, sum(sizes) if size < 0 else size
        )

    def unpack_bytes(self, data: bytes, files: int, size: int) -> Path:
        self._count += 1
        archive = self._base / f"{self._count}.tar.gz"
        archive.write_bytes(data)
        self.unpacking.unpack(archive, Pack("a" * 64, files, size))
        assert not archive.exists()
        return self.place


@pytest.fixture
def packed(tmp_path: Path) -> Packed:
    return Packed(tmp_path)


def special(name: str, kind: bytes, target: str = "") -> tarfile.TarInfo:
    entry = tarfile.TarInfo(name)
    entry.type, entry.linkname = kind, target
    return entry


def test_packs_come_into_one_place(packed: Packed) -> None:
    packed.unpack(("a/1", b"one"), special("a/link", tarfile.SYMTYPE, "1"))
    place = packed.unpack(("a/2", b"two"), ("b", b""))
    assert {each.name: each.read_bytes() for each in place.rglob("*") if each.is_file()} == {
        "1": b"one",
        "link": b"one",
        "2": b"two",
        "b": b"",
    }
    packed.unpack()


@pytest.mark.parametrize("name", ["../out", "/tmp/skylift-out", "a/../../out", "..", "."])
def test_no_name_leads_out(packed: Packed, tmp_path: Path, name: str) -> None:
    with pytest.raises(Ended, match="no place"):
        packed.unpack((name, b"x"))
    assert sorted(each.name for each in tmp_path.rglob("*") if each.is_file()) == ["1.tar.gz"]


@pytest.mark.parametrize("name", ["/rev", "/../rev", "/", "//rev"])
def test_no_name_leads_out_after_one_at_the_top(packed: Packed, name: str) -> None:
    with pytest.raises(Ended, match="no place"):
        packed.unpack(("a", b"a"), (name, b"x"))
    assert [each.name for each in packed.place.iterdir()] == ["a"]


@pytest.mark.parametrize("apart", [False, True])
def test_nothing_is_written_behind_a_link(packed: Packed, tmp_path: Path, apart: bool) -> None:
    (tmp_path / "elsewhere").mkdir()
    link, inner = special("way", tarfile.SYMTYPE, "../../elsewhere"), ("way/x", b"x")
    with pytest.raises(Ended, match="behind a link"):
        if apart:
            packed.unpack(link)
            packed.unpack(inner)
        else:
            packed.unpack(link, inner)
    assert list((tmp_path / "elsewhere").iterdir()) == []


@pytest.mark.parametrize("kind", [tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE, tarfile.DIRTYPE])
def test_what_is_neither_file_nor_link_is_refused(packed: Packed, kind: bytes) -> None:
    with pytest.raises(Ended, match="neither a file nor a link"):
        packed.unpack(special("x", kind, "/etc/passwd"))
    assert list(packed.place.iterdir()) == []


@pytest.mark.parametrize("apart", [False, True])
def test_one_name_is_one_file(packed: Packed, apart: bool) -> None:
    with pytest.raises(Ended, match="two entries of one name"):
        if apart:
            packed.unpack(("a", b"1"))
            packed.unpack(("a", b"2"))
        else:
            packed.unpack(("a", b"1"), ("a", b"2"))
    assert (packed.place / "a").read_bytes() == b"1"


def test_more_or_less_than_the_record_says_is_refused(packed: Packed) -> None:
    for files, size, says in ((1, 6, "more"), (2, 5, "more"), (3, 6, "less"), (2, 7, "less")):
        with pytest.raises(Ended, match=f"has {says} in it"):
            packed.unpack((f"{files}a{size}", b"one"), (f"{files}b{size}", b"two"), files=files, size=size)


def test_a_size_that_lies_takes_no_disk(packed: Packed) -> None:
    """A header that says a gigabyte, and a gigabyte behind it: not more than the record has is written."""
    entry = tarfile.TarInfo("big")
    entry.size = 1 << 30
    with pytest.raises(Ended, match="has more in it"):
        packed.unpack_bytes(gzip.compress(entry.tobuf() + bytes(1 << 20)), 1, 10)
    assert list(packed.place.iterdir()) == []


def test_an_archive_that_is_cut_off_or_none_is_told(packed: Packed) -> None:
    whole = io.BytesIO()
    with tarfile.open(fileobj=whole, mode="w:gz") as tar:
        for name in "ab":
            entry = tarfile.TarInfo(name)
            entry.size = 100_000
            tar.addfile(entry, io.BytesIO(os.urandom(100_000)))
    for data in (whole.getvalue()[:150_000], b"no archive", b""):
        with pytest.raises(Ended, match=r"cannot be read|less in it"):
            packed.unpack_bytes(data, 2, 200_000)
        for each in packed.place.iterdir():
            each.unlink()


def sizes_that_lie() -> list[bytes]:
    """Headers of a regular file whose size is no number of bytes: signs, spaces and words, and a negative number in
    base 256."""
    headers = []
    for size in (b"-0000000001", b"+0000000001", b"0_000000001", b"          -", b"\xff" * 11, b"99999999999"):
        header = bytearray(tarfile.TarInfo("x").tobuf(tarfile.USTAR_FORMAT))
        header[124:135] = size
        header[148:156] = b"%06o\0 " % (sum(header[:148]) + 256 + sum(header[156:]))
        headers.append(bytes(header))
    return headers


@pytest.mark.parametrize("header", sizes_that_lie())
def test_a_size_that_is_none_ends_the_job(packed: Packed, header: bytes) -> None:
    with pytest.raises(Ended):
        packed.unpack_bytes(gzip.compress(header + b"y" * 4096), 1, 4096)
    assert sum(each.stat().st_size for each in packed.place.iterdir()) < 4096


@pytest.mark.parametrize("size", [b"0_000010000", b"+0000010000", b" 0000010000", b"0000010000 "])
def test_only_octal_digits_are_read_without_a_look_at_the_sum(packed: Packed, size: bytes) -> None:
    header = bytearray(tarfile.TarInfo("x").tobuf(tarfile.USTAR_FORMAT))
    header[124:135] = size
    with pytest.raises(Ended, match="cannot be read"):
        packed.unpack_bytes(gzip.compress(bytes(header) + b"y" * 4096), 1, 4096)
    assert list(packed.place.iterdir()) == []


def test_a_file_with_holes_is_refused(packed: Packed) -> None:
    with pytest.raises(Ended, match="neither a file nor a link"):
        packed.unpack(special("x", tarfile.GNUTYPE_SPARSE))


def test_a_pack_that_ends_within_a_file_ends_the_job(packed: Packed) -> None:
    entry = tarfile.TarInfo("big")
    entry.size = 5000
    with pytest.raises(Ended, match="cannot be read"):
        packed.unpack_bytes(gzip.compress(entry.tobuf() + b"y" * 4096), 1, 5000)


def test_names_of_every_length_and_alphabet_arrive_as_they_are(packed: Packed) -> None:
    names = ["a" * 99, "b" * 100, "c" * 101, "d/" * 60 + "e", "ü", "two words", "folder/ü", "folder/plain", "-", "a\nb"]
    place = packed.unpack(*((name, name.encode()) for name in names))
    assert {name: (place / name).read_bytes() for name in names} == {name: name.encode() for name in names}


def test_a_project_may_have_folders_in_folders(packed: Packed) -> None:
    name = "d/" * 1_800 + "end"
    place = packed.unpack((name, b"deep"))
    assert (place / name).read_bytes() == b"deep"
    remove_below(place.parent, place)
