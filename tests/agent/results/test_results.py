"""What the supervisor makes of a job's folder: everything that can be read is sent, and what cannot is named."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import mmap
import os
import socket
import tarfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from support.shipped_job import Shipped

from skylift.agent.remote.aws import Refused, Unreachable
from skylift.agent.remote.prefix import Prefix
from skylift.agent.results.find_files import files_named
from skylift.agent.results.open_result import WorkingFolder
from skylift.agent.results.results import FEW, Results
from skylift.agent.results.send_deadline import OutOfTime, SendDeadline

BAD_NAME = os.fsdecode(b"caf\xe9.txt")


class Bucket:
    """An S3 that takes whole objects; `meanwhile` is called at the first of them. `two` is set once two come at a
    time."""

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}
        self.meanwhile: Callable[[], object] | None = None
        self.puts = 0
        self.two = threading.Event()
        self.refused: Exception | None = None
        self._now = 0
        self._lock = threading.Lock()

    def url(self, service: str, bucket: str) -> str:
        return "http://s3"

    def send(
        self, service: str, method: str, url: str, headers: dict[str, str], body: bytes = b""
    ) -> tuple[int, dict[str, str], bytes]:
        with self._lock:
            self.puts += 1
            self._now += 1
            if self._now > 1:
                self.two.set()
            meanwhile, self.meanwhile = self.meanwhile, None
        if meanwhile is not None:
            meanwhile()
        if self.refused is not None:
            raise self.refused
        with self._lock:
            self._now -= 1
        self.objects[url.removeprefix("http://s3/server/")] = body
        return 200, {"etag": "x"}, b""

    @property
    def manifest(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.objects["manifest.json"])
        return found

    def content(self) -> dict[str, bytes]:
        """The results, as the manifest says where they are."""
        found = {}
        for entry in self.manifest["results"]:
            key, offset = entry.get("at", (f"results/{entry['path']}", 0))
            data = self.objects[key][offset : offset + entry["size"]]
            assert hashlib.sha256(data).hexdigest() == entry["sha256"]
            found[entry["path"]] = data
        return found

    @property
    def not_sent(self) -> dict[str, str]:
        return {each["path"]: each["reason"] for each in self.manifest["not_sent"]}


@pytest.fixture
def bucket() -> Bucket:
    return Bucket()


@pytest.fixture
def place(tmp_path: Path) -> Path:
    found = tmp_path / "job"
    found.mkdir()
    return found


def results(bucket: Any, place: Path, *outputs: str, journal: Path | None = None, cwd: str = ".") -> Results:
    made = Results(Prefix(bucket, ""), place, place / cwd, list(outputs), journal)
    made.had({})
    return made


def fill(place: Path, count: int) -> dict[str, bytes]:
    files = {f"out/{number}.txt": b"%d" % number * 10 for number in range(count)}
    for path, body in files.items():
        (place / path).parent.mkdir(exist_ok=True)
        (place / path).write_bytes(body)
    return files


@pytest.mark.parametrize("count", [3, FEW + 1, 3000])
def test_small_files_go_together_and_several_things_at_once(bucket: Bucket, place: Path, count: int) -> None:
    files = fill(place, count)
    (place / "out/large").write_bytes(b"x" * 300_000)
    (place / "out/larger").write_bytes(b"y" * 300_000)
    # The first is not done before the next one comes.
    bucket.meanwhile = lambda: bucket.two.wait(30)
    results(bucket, place, "out").send(0, final=True)
    assert bucket.content() == {**files, "out/large": b"x" * 300_000, "out/larger": b"y" * 300_000}
    assert bucket.two.is_set()
    assert bucket.puts < 10
    assert ("results/out/1.txt" in bucket.objects) == (count <= FEW), "few are found by who looks at the bucket"


def test_a_pack_is_an_archive_that_any_tool_reads(bucket: Bucket, place: Path, tmp_path: Path) -> None:
    files = fill(place, 20)
    (place / "out" / BAD_NAME).write_bytes(b"bad")
    (place / "out" / ("n" * 255)).write_bytes(b"long")
    results(bucket, place, "out").send(0, final=True)
    (pack,) = [each for each in bucket.objects if each.startswith("packs/")]
    assert pack == f"packs/{hashlib.sha256(bucket.objects[pack]).hexdigest()}.tar"
    with tarfile.open(fileobj=io.BytesIO(bucket.objects[pack])) as tar:
        tar.extractall(tmp_path / "home", filter="data")
    home = tmp_path / "home/out"
    assert {f"out/{each.name}": each.read_bytes() for each in home.iterdir()} == {
        **files,
        f"out/{BAD_NAME}": b"bad",
        f"out/{'n' * 255}": b"long",
    }


@pytest.mark.parametrize("count", [0, 30])
def test_a_name_that_is_no_utf_8_and_one_that_is_no_key(bucket: Bucket, place: Path, count: int) -> None:
    files = fill(place, count)
    deep = place / ("d" * 250) / ("e" * 250) / ("f" * 250) / ("g" * 250)
    deep.mkdir(parents=True)
    (deep / "r").write_bytes(b"deep")
    (place / BAD_NAME).write_bytes(b"bad")
    (place / "model.bin").write_bytes(b"m" * 400_000)
    results(bucket, place, "**").send(0, final=True)
    path = str((deep / "r").relative_to(place))
    assert bucket.content() == {**files, BAD_NAME: b"bad", path: b"deep", "model.bin": b"m" * 400_000}
    assert bucket.manifest["left_behind"] == []


def test_folders_of_tools_are_not_named_among_what_is_left(bucket: Bucket, place: Path) -> None:
    for name in (
        ".venv/lib/a.py",
        "x/node_modules/b.js",
        "build/c.o",
        "tool.egg-info/PKG-INFO",
        "out/d.csv",
        "dist.csv",
    ):
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        (place / name).write_text("new")
    results(bucket, place, "other").send(0, final=True)
    assert bucket.manifest["left_behind"] == ["dist.csv", "out/d.csv"]


def vanish(path: Path) -> None:
    path.unlink()


def become_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def become_fifo(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def become_socket(path: Path) -> None:
    path.unlink()
    with socket.socket(socket.AF_UNIX) as one:
        one.bind(str(path))


def become_loop(path: Path) -> None:
    path.unlink()
    path.symlink_to(path.name)


def lose_folder(path: Path) -> None:
    path.unlink()
    path.parent.rename(path.parent.with_name("elsewhere"))


@pytest.mark.parametrize(
    "change",
    [vanish, become_folder, become_fifo, become_socket, become_loop, lose_folder],
    ids=lambda each: each.__name__,
)
@pytest.mark.parametrize("count", [0, 40])
def test_a_file_that_goes_wrong_meanwhile_is_named_and_all_others_come(
    bucket: Bucket, place: Path, change: Callable[[Path], None], count: int
) -> None:
    """Whether it would go by itself or in a pack, whose files are read when their turn comes."""
    files = {f"a{number}": b"x" * 250_000 for number in range(count)}
    for name, body in files.items():
        (place / name).write_bytes(body)
    (place / "first").write_bytes(b"first")
    (place / "z").mkdir()
    (place / "z/last").write_bytes(b"l" * (200_000 if count else 400_000))
    sending = results(bucket, place, "*")
    first = threading.Event()

    def meanwhile() -> None:
        change(place / "z/last")
        first.set()

    bucket.meanwhile = meanwhile
    opened = sending_open(first)
    with opened:
        sending.send(0, final=True)
    assert bucket.content() == {**files, "first": b"first"}
    assert list(bucket.not_sent) == ["z/last"]
    assert bucket.not_sent["z/last"]


@contextlib.contextmanager
def sending_open(first: threading.Event) -> Iterator[None]:
    """The last file, or its folder, is opened only once the first object is on its way. They are found before, by
    another thread."""
    real, finding = os.open, threading.get_ident()

    def late(path: Any, *arguments: Any, **how: Any) -> int:
        if threading.get_ident() != finding and path in ("z/last", "z"):
            assert first.wait(30)
        return real(path, *arguments, **how)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "open", late)
        yield


def test_a_link_that_leads_out_in_the_last_moment_gives_nothing_away(bucket: Bucket, place: Path) -> None:
    (place.parent / "secret").write_bytes(b"root's")
    (place / "first").write_bytes(b"first")
    (place / "z").mkdir()
    (place / "z/last").write_bytes(b"x" * 400_000)
    first = threading.Event()

    def meanwhile() -> None:
        (place / "z/last").unlink()
        (place / "z/last").symlink_to(place.parent / "secret")
        first.set()

    bucket.meanwhile = meanwhile
    with sending_open(first):
        results(bucket, place, "*").send(0, final=True)
    assert bucket.content() == {"first": b"first"}
    assert bucket.not_sent == {"z/last": "a link that leads elsewhere is in its place"}
    assert not [body for body in bucket.objects.values() if b"root's" in body]


@pytest.mark.parametrize("whole_folder", [False, True], ids=["file", "folder"])
def test_neither_does_one_in_a_pack(bucket: Bucket, place: Path, whole_folder: bool) -> None:
    files = {f"a{number}": b"x" * 250_000 for number in range(40)}
    for name, body in files.items():
        (place / name).write_bytes(body)
    (place.parent / "outside").mkdir()
    (place.parent / "outside/last").write_bytes(b"root's")
    (place / "z").mkdir()
    (place / "z/last").write_bytes(b"l" * 200_000)
    first = threading.Event()

    def meanwhile() -> None:
        (place / "z/last").unlink()
        if whole_folder:
            (place / "z").rmdir()
            (place / "z").symlink_to(place.parent / "outside")
        else:
            (place / "z/last").symlink_to(place.parent / "outside/last")
        first.set()

    bucket.meanwhile = meanwhile
    with sending_open(first):
        results(bucket, place, "*").send(0, final=True)
    assert bucket.content() == files
    assert bucket.not_sent == {"z/last": "a link that leads elsewhere is in its place"}
    assert not [body for body in bucket.objects.values() if b"root's" in body]


@pytest.mark.parametrize("whole", [False, True], ids=["working directory", "job's folder"])
def test_a_link_in_the_place_of_the_working_directory_gives_nothing_away(
    bucket: Bucket, place: Path, whole: bool
) -> None:
    """Neither what is there nor how it is called."""
    (place.parent / "outside/sub").mkdir(parents=True)
    for each in ("outside/secret", "outside/sub/secret"):
        (place.parent / each).write_bytes(b"root's")
    (place / "sub").mkdir()
    sending = results(bucket, place, "**", cwd="sub")
    if whole:
        place.rename(place.with_name("moved"))
        place.symlink_to(place.parent / "outside")
    else:
        (place / "sub").rmdir()
        (place / "sub").symlink_to(place.parent / "outside")
    sending.send(0, final=True)
    assert (bucket.content(), list(bucket.not_sent), bucket.manifest["left_behind"]) == ({}, ["."], [])
    assert not [each for each in bucket.objects.values() if b"root's" in each or b"secret" in each]


def test_a_working_directory_that_the_program_has_removed_has_no_results(bucket: Bucket, place: Path) -> None:
    results(bucket, place, "*.txt", cwd="sub").send(0, final=True)
    assert (bucket.content(), bucket.manifest["unmatched"], bucket.not_sent) == ({}, ["*.txt"], {})


def test_a_file_that_grows_all_the_time_comes_and_is_named(
    bucket: Bucket, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = fill(place, 20)
    (place / "out/log").write_bytes(b"begun")
    fstat = os.fstat

    def growing(descriptor: int) -> os.stat_result:
        found = fstat(descriptor)
        if os.readlink(f"/proc/self/fd/{descriptor}").endswith("/log"):
            with (place / "out/log").open("ab") as log:
                log.write(b".")
        return found

    monkeypatch.setattr(os, "fstat", growing)
    results(bucket, place, "out").send(0, final=True)
    assert bucket.content().keys() == {*files, "out/log"}
    assert bucket.content()["out/log"].startswith(b"begun")
    assert (bucket.manifest["changed"], bucket.not_sent) == (["out/log"], {})


def test_a_folder_that_cannot_be_looked_into_is_named(
    bucket: Bucket, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = fill(place, 3)
    (place / "out/shut").mkdir()
    real = os.open

    def denied(path: Any, *arguments: Any, **how: Any) -> int:
        if path == "out/shut":
            raise PermissionError(13, "Permission denied", path)
        return real(path, *arguments, **how)

    monkeypatch.setattr(os, "open", denied)
    results(bucket, place, "out").send(0, final=True)
    assert bucket.content() == files
    assert bucket.not_sent == {"out/shut": "Permission denied"}


def test_deeper_than_a_path_may_be(bucket: Bucket, place: Path) -> None:
    files, here = fill(place, 3), os.open(place / "out", os.O_RDONLY)
    folders = [here]
    for _ in range(20):
        os.mkdir("x" * 250, dir_fd=folders[-1])
        folders.append(os.open("x" * 250, os.O_RDONLY, dir_fd=folders[-1]))
    try:
        results(bucket, place, "out").send(0, final=True)
        assert bucket.content() == files
        assert set(bucket.not_sent.values()) == {"File name too long"}
    finally:
        # pytest could not.
        for above in reversed(folders[:-1]):
            os.close(folders.pop())
            os.rmdir("x" * 250, dir_fd=above)
        os.close(here)


def test_when_s3_takes_nothing_it_is_not_asked_for_every_file(bucket: Bucket, place: Path) -> None:
    for number in range(50):
        (place / f"{number}").write_bytes(b"x" * 300_000)
    bucket.refused = Unreachable("HTTP 503")
    with pytest.raises(Unreachable):
        results(bucket, place, "*").send(0, final=True)
    assert bucket.puts <= 8
    bucket.refused = Refused(400, "no")
    with pytest.raises(Refused):
        results(bucket, place, "*").send(0, final=True)


def test_what_has_been_sent_is_not_sent_again_by_a_next_supervisor(bucket: Bucket, place: Path, tmp_path: Path) -> None:
    files, long_ago = fill(place, 40), time.time() - 100
    for path in files:
        os.utime(place / path, (long_ago, long_ago))
    results(bucket, place, "out", journal=tmp_path / "sent").send(0, final=False)
    before = bucket.puts
    (place / "out/3.txt").write_bytes(b"new")
    results(bucket, place, "out", journal=tmp_path / "sent").send(0, final=True)
    assert bucket.puts == before + 2, "one file, and the manifest"
    assert bucket.content() == {**files, "out/3.txt": b"new"}


@pytest.mark.parametrize("size", [4096, 300_000])
def test_what_was_written_through_memory_comes_as_it_is_at_the_end(
    bucket: Bucket, place: Path, tmp_path: Path, size: int
) -> None:
    """The time of a file that is mapped (numpy.memmap) stays as it is while the kernel has not written it down."""
    made = results(bucket, place, "*", journal=tmp_path / "sent")
    with (place / "array").open("w+b") as file:
        file.truncate(size)
        with mmap.mmap(file.fileno(), size) as memory:
            memory[0] = 1
            os.utime(place / "array", (1e9, 1e9))
            made.send(0, final=False)
            memory[0] = 2
            # The kernel may have written it down between the two, as it does when it is busy.
            os.utime(place / "array", (1e9, 1e9))
    made.send(0, final=True)
    assert bucket.content()["array"][0] == 2
    before = bucket.puts
    made.send(0, final=True)
    assert bucket.puts == before + 1, "the manifest"


def test_patience_with_what_goes_well_has_no_end_but_the_servers(bucket: Bucket, place: Path) -> None:
    fill(place, 3)
    sending = results(bucket, place, "out")
    now = time.time()
    with pytest.raises(OutOfTime):
        sending.send(SendDeadline(30, now + 30, now - 1), final=True)
    sending.send(SendDeadline(0, now - 1, now + 30), final=True)
    assert len(bucket.content()) == 3


@pytest.mark.parametrize(
    ("pattern", "named"),
    [
        ("out", ["out/.x", "out/a", "out/deep/b"]),
        ("out/", ["out/.x", "out/a", "out/deep/b"]),
        ("out/*", ["out/a", "out/deep/b"]),
        ("*", ["c", "latest/.x", "latest/a", "latest/deep/b", "out/.x", "out/a", "out/deep/b"]),
        (".", ["c", "out/.x", "out/a", "out/deep/b"]),
        ("**", ["c", "out/.x", "out/a", "out/deep/b"]),
        ("**/b", ["out/deep/b"]),
        ("**/deep/*", ["out/deep/b"]),
        ("[co]*", ["c", "out/.x", "out/a", "out/deep/b"]),
        ("latest", ["latest/.x", "latest/a", "latest/deep/b"]),
        ("out/a", ["out/a"]),
        ("no", []),
        ("../secret", []),
        ("/etc/hostname", []),
        ("away", []),
        ("away/*", []),
        ("away/secret", []),
        (".h", [".h"]),
    ],
)
def test_what_a_pattern_names(place: Path, pattern: str, named: list[str]) -> None:
    for path in ("out/a", "out/deep/b", "out/.x", "c", ".h", ".git/config"):
        (place / path).parent.mkdir(parents=True, exist_ok=True)
        (place / path).touch()
    (place.parent / "outside").mkdir()
    (place.parent / "outside/secret").touch()
    (place / "away").symlink_to(place.parent / "outside")
    (place / "latest").symlink_to("out")
    (place / "dangling").symlink_to("nothing")
    os.mkfifo(place / "fifo")
    with WorkingFolder(place, ".") as top:
        found = [each.inner for each in files_named(top, pattern, lambda inner, error: None)]
    assert sorted(found) == sorted(named)


def test_a_bad_name_beside_a_model_leaves_a_job_that_succeeded(shipped: Shipped, tmp_path: Path) -> None:
    status = shipped.run(
        "import os\nopen(os.fsdecode(b'caf\\xe9.txt'), 'w').write('x')\nopen('model.bin', 'w').write('m')\n",
        outputs=["*.txt", "*.bin"],
    )
    assert (status["state"], status["exit_code"]) == ("succeeded", 0)
    home = tmp_path / "home"
    assert shipped.bring_home(home) == [BAD_NAME, "model.bin"]
    assert sorted(os.listdir(os.fsencode(home))) == [b"caf\xe9.txt", b"model.bin"]
