"""`skylift cp` against a real SFTP server, which is honest or not."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import stat
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import asyncssh
import pytest
from support.deep_tree import deepen
from support.whole_run import Seen

from skylift.client.errors import ConnectionLost, RunError, SkyliftError, UsageError
from skylift.client.jobs import copy
from skylift.client.jobs.copy import CopyOrder, RemotePath, copy_by, parse_path, plan_copy
from skylift.client.launch.key import ensure_key_file
from skylift.client.remote.ssh import connect
from skylift.client.steps import Clock


class Files(asyncssh.SFTPServer):
    """A home with a job's folder in it, as OpenSSH's server would show it."""

    root = b""

    def __init__(self, chan: Any) -> None:
        super().__init__(chan, chroot=self.root)


class Both:
    """This machine's folder `here`, and the job's `there`, with a server between them."""

    def __init__(self, base: Path) -> None:
        self.here, self.there = base / "here", base / "home" / "job"
        for folder in (self.here, self.there):
            folder.mkdir(parents=True)
        self.seen = Seen()
        self.told: list[tuple[int, int, tuple[int, int] | None]] = []
        self.files = type("OwnFiles", (Files,), {"root": os.fsencode(base / "home")})
        self.key = ensure_key_file(base / "keys", "123456789012", "us-east-1")
        self.connections: list[asyncssh.SSHServerConnection] = []

    def cp(self, *words: str, recursive: bool = False) -> None:
        asyncio.run(self._cp(plan_copy(words, recursive=recursive)))

    async def _cp(self, order: CopyOrder) -> None:
        async with self._server() as (port, host_key):
            connection = await connect("127.0.0.1", "me", self.key.private, [host_key], "j", port)
            try:
                watcher = _Telling(self.seen, self.told)
                await copy_by(connection, "job", order, watcher, Clock(watcher))
            finally:
                await connection.close()

    @contextlib.asynccontextmanager
    async def _server(self) -> AsyncIterator[tuple[int, str]]:
        outer, host = self, asyncssh.generate_private_key("ssh-ed25519")

        class Server(asyncssh.SSHServer):
            def connection_made(self, conn: asyncssh.SSHServerConnection) -> None:
                outer.connections.append(conn)

        acceptor = await asyncssh.listen(
            "127.0.0.1",
            0,
            server_factory=Server,
            server_host_keys=[host],
            authorized_client_keys=asyncssh.import_authorized_keys(self.key.public),
            sftp_factory=self.files,
        )
        async with acceptor:
            yield acceptor.get_port(), host.export_public_key().decode().strip()

    def left(self) -> list[str]:
        """Beginnings of files, at either end."""
        return [str(each) for top in (self.here, self.there) for each in top.rglob("*.skylift-part")]


class _Telling:
    def __init__(self, seen: Seen, told: list[tuple[int, int, tuple[int, int] | None]]) -> None:
        self._seen, self._told = seen, told
        self.begin, self.done, self.note, self.output = seen.begin, seen.done, seen.note, seen.output

    def progress(self, step: str, done: int, total: int, files: tuple[int, int] | None = None) -> None:
        self._seen.progress(step, done, total)
        self._told.append((done, total, files))


@pytest.fixture
def both(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Both:
    found = Both(tmp_path)
    monkeypatch.chdir(found.here)
    return found


def tree(top: Path) -> dict[str, tuple[bytes, bool]]:
    return {
        os.fsdecode(os.path.relpath(each, top)): (each.read_bytes(), bool(each.stat().st_mode & 0o100))
        for each in top.rglob("*")
        if each.is_file() and not each.is_symlink()
    }


def fill(top: Path, count: int = 60) -> None:
    for number in range(count):
        place = top / f"d{number % 7}" / f"e{number % 3}" / f"{number}.bin"
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(os.urandom(number * 37))
    (top / "empty").mkdir(parents=True)
    (top / "run.sh").write_text("#!/bin/sh\n")
    (top / "run.sh").chmod(0o755)
    Path(os.fsdecode(os.fsencode(top) + b"/n\xe9 a:b\n")).write_bytes(b"odd name")


# Words.


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("job-1:out/a.csv", RemotePath("job-1", "out/a.csv")),
        ("job:", RemotePath("job", "")),
        ("./job:a", "./job:a"),
        ("Not_A_Job:a", "Not_A_Job:a"),
        ("/abs/a:b", "/abs/a:b"),
        ("-", "-"),
    ],
)
def test_a_place_is_a_jobs_or_this_machines(text: str, place: RemotePath | str) -> None:
    assert parse_path(text) == place


@pytest.mark.parametrize(
    ("words", "recursive"),
    [
        (("a",), False),
        (("a", "b"), False),
        (("job:a", "job:b"), False),
        (("job:a", "other:b", "."), False),
        (("job:a", "here", "."), False),
        (("-", "job:"), False),
        (("-", "job:."), False),
        (("job:a", "job:b", "-"), False),
        (("job:a", "-"), True),
        (("job:a/x.csv", "job:b/x.csv", "."), False),
        (("a/x", "./b/x/", "job:"), True),
        (("x", "b/../x", "job:"), False),
    ],
)
def test_what_cannot_be_meant_is_refused(words: tuple[str, ...], recursive: bool) -> None:
    with pytest.raises(UsageError):
        plan_copy(words, recursive=recursive)


def test_sources_of_different_names_and_what_folders_hold_are_copied() -> None:
    assert plan_copy(("a/x", "b/y", "job:"), recursive=False).sources == ("a/x", "b/y")
    assert plan_copy(("a/.", "b/.", "job:"), recursive=True).sources == ("a/.", "b/.")


# Both ways.


@pytest.mark.parametrize("size", [0, 1, 5 << 20])
def test_a_file_each_way_in_the_place_of_another(both: Both, size: int) -> None:
    data = os.urandom(size)
    (both.there / "a.bin").write_bytes(data)
    (both.here / "a.bin").write_bytes(b"old")
    both.cp("j:a.bin", ".")
    assert (both.here / "a.bin").read_bytes() == data
    both.cp("j:a.bin", "b.bin")
    both.cp("b.bin", "j:")
    both.cp("b.bin", "j:c.bin")
    both.cp("b.bin", "j:c.bin")
    assert (both.there / "b.bin").read_bytes() == (both.there / "c.bin").read_bytes() == data
    assert both.left() == []


def test_folders_each_way_with_names_of_any_kind(both: Both) -> None:
    fill(both.there / "out")
    both.cp("j:out", ".", recursive=True)
    assert tree(both.here / "out") == tree(both.there / "out")
    assert (both.here / "out" / "empty").is_dir()
    assert both.told[-1][2] == (62, 62)
    assert both.told[-1][0] == both.told[-1][1]
    both.cp("out", "j:again", recursive=True)
    assert tree(both.there / "again") == tree(both.there / "out")
    assert (both.there / "again" / "empty").is_dir()
    # Into a folder that is there; and what is in a folder, without it.
    both.cp("out", "j:again", recursive=True)
    assert tree(both.there / "again" / "out") == tree(both.here / "out")
    both.cp("j:out/.", "flat", recursive=True)
    both.cp("flat/.", "j:flat", recursive=True)
    assert tree(both.here / "flat") == tree(both.there / "flat") == tree(both.there / "out")
    assert both.left() == []


def test_several_at_once(both: Both) -> None:
    for name in ("a", "b"):
        (both.there / name).write_text(name)
    (both.here / "in").mkdir()
    both.cp("j:a", "j:b", "in")
    assert tree(both.here / "in") == {"a": (b"a", False), "b": (b"b", False)}
    (both.there / "in").mkdir()
    both.cp("in/a", "in/b", "j:in/")
    assert tree(both.there / "in") == tree(both.here / "in")
    with pytest.raises(UsageError, match="not a folder"):
        both.cp("j:a", "j:b", "nowhere")
    with pytest.raises(UsageError, match="folder"):
        both.cp("in/a", "in/b", "j:nowhere")


@pytest.mark.parametrize(
    ("words", "name"),
    [
        (("j:.", "j:sub/a", "in"), "a"),
        (("j:sub/a", "j:", "in"), "a"),
        (("j:sub/.", "j:a", "in"), "a"),
        ((".", "sub/a", "j:in"), "job/in/a"),
        (("sub/a", ".", "j:in"), "job/in/a"),
    ],
)
def test_no_source_overwrites_what_another_one_brings(both: Both, words: tuple[str, ...], name: str) -> None:
    """`.` has no name: what it holds goes into the folder. Nothing is written at all."""
    for top in (both.here, both.there):
        for folder in ("sub", "in"):
            (top / folder).mkdir()
        (top / "sub" / "a").write_text("inner")
        (top / "a").write_text("outer")
    before = tree(both.here), tree(both.there)
    with pytest.raises(UsageError, match=f"both have {name}: one would overwrite the other"):
        both.cp(*words, recursive=True)
    assert (tree(both.here), tree(both.there)) == before


def test_what_a_folder_holds_goes_into_one_that_is_there(both: Both) -> None:
    """As with cp and scp. Two of one name are no obstacle."""
    for top in (both.here, both.there):
        for outer, name in (("x", "a"), ("y", "b")):
            (top / outer / "same").mkdir(parents=True)
            (top / outer / "same" / name).write_text(name)
        (top / "in").mkdir()
    both.cp("j:x/same/.", "j:y/same/./", "in", recursive=True)
    both.cp("x/same/.", "y/same/.", "j:in", recursive=True)
    assert set(tree(both.here / "in")) == set(tree(both.there / "in")) == {"a", "b"}


def test_folders_of_two_sources_may_become_one(both: Both) -> None:
    (both.there / "sub").mkdir()
    (both.there / "sub" / "a").write_text("inner")
    (both.there / "in" / "sub").mkdir(parents=True)
    (both.there / "in" / "sub" / "b").write_text("other")
    (both.here / "to").mkdir()
    both.cp("j:sub", "j:in/.", "to", recursive=True)
    assert set(tree(both.here / "to")) == {"sub/a", "sub/b"}


def test_standard_output_and_input(both: Both, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    data = bytes(range(256)) * 9000
    (both.there / "a").write_bytes(data)
    both.cp("j:a", "-")
    assert capfdbinary.readouterr().out == data
    with (both.there / "a").open("rb") as file:
        before = os.dup(0)
        os.dup2(file.fileno(), 0)
        try:
            both.cp("-", "j:b")
        finally:
            os.dup2(before, 0)
            os.close(before)
    assert (both.there / "b").read_bytes() == data


def test_links_to_files_are_files_and_others_are_left_out(both: Both) -> None:
    out = both.there / "out"
    fill(out, 3)
    (out / "link").symlink_to("run.sh")
    (out / "round").symlink_to("..")
    (out / "nowhere").symlink_to("missing")
    os.mkfifo(out / "fifo")
    both.cp("j:out", "a", recursive=True)
    assert (both.here / "a" / "link").read_text() == "#!/bin/sh\n"
    assert not (both.here / "a" / "link").is_symlink()
    assert sorted(each.name for each in (both.here / "a").iterdir() if not each.is_dir()) == sorted(
        ["link", "run.sh", os.fsdecode(b"n\xe9 a:b\n")]
    )
    assert len(both.seen.notes) == 3
    assert not any(ord(letter) < 32 for note in both.seen.notes for letter in note)
    (both.here / "round").symlink_to(".")
    both.seen.notes.clear()
    both.cp(".", "j:b", recursive=True)
    assert not (both.there / "b" / "round").exists()
    assert len(both.seen.notes) == 1


# What is in the way.


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("j:missing", "."), "There is no missing in job"),
        (("j:folder", "."), "-r copies it"),
        (("j:file", "nowhere/a"), "There is no folder nowhere"),
        (("j:file", "nowhere/"), "There is no folder nowhere"),
        (("j:file", "in-the-way"), "in-the-way/file is a folder here"),
        (("missing", "j:"), "missing cannot be read"),
        (("folder", "j:"), "-r copies it"),
        (("file", "j:nowhere/a"), "There is no folder"),
        (("file", "j:nowhere/"), "There is no folder"),
        (("file", "j:in-the-way"), "in-the-way/file is a folder"),
        (("j:file/inner", "."), ""),
        (("j:", "-"), "is a folder"),
    ],
)
def test_what_is_missing_or_in_the_way_is_said(both: Both, words: tuple[str, ...], says: str) -> None:
    for top in (both.here, both.there):
        (top / "folder").mkdir()
        (top / "in-the-way" / "file").mkdir(parents=True)
        (top / "file").write_text("x")
    with pytest.raises(SkyliftError) as failure:
        both.cp(*words)
    assert says in f"{failure.value.message} {failure.value.advice}"
    assert both.left() == []
    assert tree(both.here) == tree(both.there) == {"file": (b"x", False)}


def test_a_device_here_is_not_replaced(both: Both) -> None:
    (both.there / "a").write_text("x")
    os.mkfifo(both.here / "a")
    with pytest.raises(UsageError, match="no regular file here"):
        both.cp("j:a", "a")
    assert stat.S_ISFIFO((both.here / "a").stat().st_mode)


def test_one_file_that_goes_meanwhile_holds_up_no_other(both: Both) -> None:
    fill(both.there / "out", 5)
    gone = os.fsencode(both.there / "out" / "d1" / "e1" / "1.bin")

    def open_(self: Any, path: bytes, *rest: Any) -> Any:
        if self.map_path(path) == gone:
            Path(os.fsdecode(gone)).unlink()
        return Files.open(self, path, *rest)

    both.files.open = open_  # type: ignore[attr-defined]
    with pytest.raises(RunError, match=r"There is no .*1\.bin on the server"):
        both.cp("j:out", ".", recursive=True)
    assert tree(both.here / "out") == tree(both.there / "out")


# Servers that lie.


def naming(*entries: tuple[bytes, int]) -> Any:
    async def scandir(self: Any, path: bytes) -> Any:
        for name, kind in ((b".", stat.S_IFDIR), (b"..", stat.S_IFDIR), *entries):
            attrs = asyncssh.SFTPAttrs(permissions=kind | 0o755, size=4)
            yield asyncssh.SFTPName(name, b"", attrs)

    return scandir


@pytest.mark.parametrize("name", [b"../evil", b"/tmp/evil", b"a/b", b"", b"a\0b", b"x" * 300])
def test_a_name_that_no_folder_can_hold_writes_nothing(both: Both, name: bytes) -> None:
    (both.there / "out").mkdir()
    both.files.scandir = naming((name, stat.S_IFREG))  # type: ignore[attr-defined]
    with pytest.raises(RunError, match="names a file that no folder can hold"):
        both.cp("j:out", "o", recursive=True)
    assert tree(both.here) == {}


def test_folders_without_end_come_to_one(both: Both) -> None:
    (both.there / "out").mkdir()
    both.files.scandir = naming((b"again", stat.S_IFDIR))  # type: ignore[attr-defined]
    with pytest.raises(RunError, match="folders in each other"):
        both.cp("j:out", "o", recursive=True)
    here = os.open(both.here, os.O_RDONLY)
    # By steps, as a path of such a length is one that nobody else can remove.
    names = [b"o", *[b"again"] * 300]
    depth = 0
    for name in names:
        try:
            inner = os.open(name, os.O_RDONLY | os.O_DIRECTORY, dir_fd=here)
        except FileNotFoundError:
            break
        os.close(here)
        here, depth = inner, depth + 1
    os.close(here)
    assert depth <= 201


@pytest.mark.parametrize("kind", [stat.S_IFREG, stat.S_IFDIR], ids=["files", "folders"])
def test_a_folder_without_end_is_not_read_to_its_end(both: Both, kind: int, monkeypatch: pytest.MonkeyPatch) -> None:
    async def scandir(self: Any, path: bytes) -> Any:
        for number in itertools.count():
            yield asyncssh.SFTPName(b"%d" % number, b"", asyncssh.SFTPAttrs(permissions=kind | 0o755, size=4))

    monkeypatch.setattr(copy, "_MOST", 1000)
    (both.there / "out").mkdir()
    both.files.scandir = scandir  # type: ignore[attr-defined]
    with pytest.raises(RunError, match="names more than 1,000 files and folders"):
        both.cp("j:out", "o", recursive=True)
    assert tree(both.here) == {}


def test_no_link_here_is_followed(both: Both) -> None:
    fill(both.there / "out", 3)
    elsewhere = both.here.parent / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "rc").write_text("mine")
    (both.here / "out").mkdir()
    (both.here / "out" / "d0").symlink_to(elsewhere)
    with pytest.raises(UsageError, match="is a link or a file here"):
        both.cp("j:out", ".", recursive=True)
    assert tree(elsewhere) == {"rc": (b"mine", False)}
    # In a file's place a link makes way, and what it leads to stays.
    (both.here / "run.sh").symlink_to(elsewhere / "rc")
    both.cp("j:out/run.sh", ".")
    assert not (both.here / "run.sh").is_symlink()
    assert tree(elsewhere) == {"rc": (b"mine", False)}


def test_more_than_was_said_is_not_taken(both: Both) -> None:
    (both.there / "out").mkdir()
    both.files.scandir = naming((b"big", stat.S_IFREG))  # type: ignore[attr-defined]
    (both.there / "out" / "big").write_bytes(b"0123456789")
    both.cp("j:out", "o", recursive=True)
    assert (both.here / "o" / "big").read_bytes() == b"0123"


def test_what_a_server_says_moves_no_terminal(both: Both) -> None:
    def refuse(self: Any, path: bytes, *rest: Any) -> Any:
        raise asyncssh.SFTPFailure("\x1b[2J\x1b]0;owned\x07" + "x" * 5000)

    (both.there / "a").write_text("x")
    both.files.open = refuse  # type: ignore[attr-defined]
    with pytest.raises(RunError) as failure:
        both.cp("j:a", "a")
    assert failure.value.message.isprintable()
    assert len(failure.value.message) < 500


def test_a_full_disk_there_is_said_and_the_old_file_stays(both: Both) -> None:
    """As OpenSSH's server has it: a failure without a reason, on a file system that has no room."""
    (both.here / "a").write_bytes(os.urandom(1 << 20))
    (both.there / "a").write_text("old")

    def write(self: Any, file: Any, offset: int, data: bytes) -> int:
        if len(data) > 100:
            raise asyncssh.SFTPFailure("Failure")
        return Files.write(self, file, offset, data)  # type: ignore[return-value]

    def statvfs(self: Any, path: bytes) -> asyncssh.SFTPVFSAttrs:
        return asyncssh.SFTPVFSAttrs(
            bsize=4096, frsize=4096, blocks=1000, bfree=0, bavail=0, files=9, ffree=9, favail=9
        )

    both.files.write = write  # type: ignore[attr-defined]
    with pytest.raises(RunError, match="job/a on the server: Failure"):
        both.cp("a", "j:a")
    both.files.statvfs = statvfs  # type: ignore[attr-defined]
    with pytest.raises(RunError, match="disk is full"):
        both.cp("a", "j:a")
    assert (both.there / "a").read_text() == "old"
    assert both.left() == []


def test_a_connection_that_breaks_leaves_the_old_file(both: Both) -> None:
    (both.there / "a").write_bytes(os.urandom(8 << 20))
    (both.here / "a").write_text("old")
    outer = both

    def read(self: Any, file: Any, offset: int, size: int) -> bytes:
        if offset > 4 << 20:
            outer.connections[-1].abort()
        return Files.read(self, file, offset, size)  # type: ignore[return-value]

    both.files.read = read  # type: ignore[attr-defined]
    with pytest.raises(ConnectionLost):
        both.cp("j:a", ".")
    assert (both.here / "a").read_text() == "old"
    assert both.left() == []


def test_links_here_that_lead_round_hold_up_nothing(both: Both) -> None:
    folder = both.here / "folder"
    folder.mkdir()
    (folder / "file").write_text("1")
    (folder / "self").symlink_to("self")
    (folder / "there").symlink_to("back")
    (folder / "back").symlink_to("there")
    for number in range(60):
        (folder / f"l{number}").symlink_to(f"l{number + 1}")
    (folder / "l60").symlink_to("file")
    os.mkfifo(folder / "fifo")
    both.cp("folder", "j:", recursive=True)
    # The kernel follows forty links.
    assert {name for name in tree(both.there) if name.startswith("folder/l")} == {f"folder/l{n}" for n in range(21, 61)}
    assert (both.there / "folder/file").read_text() == "1"
    assert len([note for note in both.seen.notes if "is a link to nowhere" in note]) == 24
    assert len([note for note in both.seen.notes if "is not a regular file" in note]) == 1


@pytest.mark.parametrize("levels", [250, 6_000])
def test_what_is_too_deep_is_said_at_either_end(both: Both, levels: int) -> None:
    deepen(both.here / "mine", levels)
    deepen(both.there / "theirs", levels)
    try:
        with pytest.raises(RunError, match="more than 200 folders in each other") as refused:
            both.cp("j:theirs", "brought", recursive=True)
        assert "No file was copied" in refused.value.advice
        if levels > 4_096 // 2:
            with pytest.raises(SkyliftError, match="File name too long"):
                both.cp("mine", "j:sent", recursive=True)
        else:
            both.cp("mine", "j:sent", recursive=True)
            assert (both.there / "sent" / ("d/" * levels) / "end").exists()
    finally:
        for place in (both.here / "mine", both.here / "brought", both.there / "theirs", both.there / "sent"):
            subprocess.run(["rm", "-rf", place], check=True)
