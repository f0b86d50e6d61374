"""Results on their way home, and what may go wrong there."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from stored_results import BUCKET, PREFIX, fetch, part, put, send, told

from skylift.client.collect import results as collect
from skylift.client.collect.results import bring_home, read_manifest
from skylift.client.errors import RecordDamaged, ResultsDamaged, RunError, Unreachable
from skylift.client.job.outcome import Result
from skylift.client.job.record import JobKeys
from skylift.client.remote.api import Api, Sink


def test_file_replaces_the_one_that_is_there(api: Api, bucket: str, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("old and longer")
    put(api, "a.txt", b"new")
    assert fetch(api, tmp_path) == 3
    assert (tmp_path / "a.txt").read_text() == "new"
    assert [path.name for path in tmp_path.iterdir()] == ["a.txt"]


def test_damaged_file_never_takes_the_place_of_a_good_one(api: Api, bucket: str, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("good")
    put(api, "a.txt", b"bad", digest="0" * 64)
    with pytest.raises(ResultsDamaged, match=r"a\.txt arrived damaged") as caught:
        fetch(api, tmp_path)
    assert "s3://" in caught.value.advice
    assert (tmp_path / "a.txt").read_text() == "good"
    assert [path.name for path in tmp_path.iterdir()] == ["a.txt"]


@pytest.mark.parametrize(
    "path", ["../a.txt", "/etc/a.txt", "a/../../a.txt", "a//b", "a/.", "", "a\0b", "a\ud800", "a\udcc3\udca9"]
)
def test_place_outside_is_refused(api: Api, bucket: str, tmp_path: Path, path: str) -> None:
    home = tmp_path / "home"
    home.mkdir()
    manifest = {"results": [{"path": path, "size": 1, "sha256": "0" * 64}], "unmatched": [], "left_behind": []}
    api.put(BUCKET, PREFIX.manifest, json.dumps(manifest).encode())
    with pytest.raises(RecordDamaged, match="not below the working directory"):
        fetch(api, home)
    assert [each.name for each in tmp_path.iterdir()] == ["home"]


def test_place_that_cannot_be_written(api: Api, bucket: str, tmp_path: Path) -> None:
    (tmp_path / "a").write_text("a file where a folder should be")
    put(api, "a/b.txt", b"x")
    with pytest.raises(ResultsDamaged, match="cannot be written here"):
        fetch(api, tmp_path)


def test_job_without_a_manifest_has_no_results(api: Api, bucket: str) -> None:
    assert read_manifest(api, bucket, JobKeys("none"), ["."]).results == ()


def test_what_was_cut_off_is_gone_on_with(
    api: Api, bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    body = bytes(range(256)) * 20_000
    put(api, "a.bin", body)
    stream = api.stream
    offsets: list[int] = []

    def cut(bucket: str, key: str, target: Sink, offset: int = 0, most: int | None = None) -> Iterator[int]:
        offsets.append(offset)
        for number, size in enumerate(stream(bucket, key, target, offset, most)):
            yield size
            if number == 1 and len(offsets) == 1:
                raise Unreachable("cut")

    monkeypatch.setattr(api, "stream", cut)
    with pytest.raises(Unreachable):
        fetch(api, tmp_path)
    assert not (tmp_path / "a.bin").exists()
    assert fetch(api, tmp_path) == len(body)
    assert offsets == [0, 2 << 20]
    assert (tmp_path / "a.bin").read_bytes() == body
    assert [path.name for path in tmp_path.iterdir()] == ["a.bin"]


def test_what_is_here_is_not_fetched_again(
    api: Api, bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(api, "a.txt", b"same")
    (tmp_path / "a.txt").write_text("same")
    monkeypatch.delattr(Api, "stream")
    assert fetch(api, tmp_path) == 4


def test_two_that_bring_the_same_home(api: Api, bucket: str, tmp_path: Path) -> None:
    put(api, "a.txt", b"x")
    digest = hashlib.sha256(b"x").hexdigest()
    with part(tmp_path, "a.txt", digest).open("wb") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(RunError, match="Another skylift"):
            fetch(api, tmp_path)


def content(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): path.read_text() for path in sorted(folder.rglob("*")) if path.is_file()
    }


EVIL = dict.fromkeys((".git/config", ".bashrc", "job.py", "sub/.GIT/hooks/post-checkout", "Makefile"), b"evil")


@pytest.mark.parametrize(
    ("outputs", "written"),
    [
        ((), []),
        (("out",), ["out/.hidden", "out/a"]),
        (("out/*",), ["out/a"]),
        (("out/.h*",), ["out/.hidden"]),
        ((".",), ["Makefile", "out/.hidden", "out/a"]),
        (("*",), ["Makefile", "out/.hidden", "out/a"]),
        (("**",), ["Makefile", "out/.hidden", "out/a"]),
        (("**/*",), ["Makefile", "out/.hidden", "out/a"]),
        (("**/a",), ["out/a"]),
        (("job.py",), ["job.py"]),
        ((".bashrc", ".git"), [".bashrc"]),
    ],
)
def test_what_was_not_asked_for_is_named_and_not_written(
    api: Api, bucket: str, tmp_path: Path, outputs: tuple[str, ...], written: list[str]
) -> None:
    sent = {**EVIL, "out/a": b"good", "out/.hidden": b"good", "out/.git/config": b"evil", "out/.hg/hgrc": b"evil"}
    sent["out/.x.skylift-part"] = b"evil"
    send(api, **sent)
    manifest = read_manifest(api, BUCKET, PREFIX, outputs, "job.py")
    bring_home(api, BUCKET, PREFIX, manifest, tmp_path, lambda _: None)
    assert sorted(content(tmp_path)) == written
    assert sorted(manifest.not_written) == sorted(set(sent) - set(written))


@pytest.mark.parametrize("path", ["out/a", "out/deep/a"])
def test_no_link_of_the_working_directory_is_followed(api: Api, bucket: str, tmp_path: Path, path: str) -> None:
    home, outside = tmp_path / "home", tmp_path / "outside"
    home.mkdir()
    outside.mkdir()
    link = (home / path).parent
    link.parent.mkdir(exist_ok=True)
    link.symlink_to(outside)
    send(api, **{path: b"evil"})
    with pytest.raises(ResultsDamaged, match=r"is a symbolic link here") as caught:
        fetch(api, home, "out")
    assert "skylift results x DIR" in caught.value.advice
    assert list(outside.iterdir()) == []


def test_a_result_takes_the_place_of_a_link_and_leaves_what_that_names(api: Api, bucket: str, tmp_path: Path) -> None:
    home, outside = tmp_path / "home", tmp_path / "outside"
    home.mkdir()
    outside.write_text("precious")
    (home / "a").symlink_to(outside)
    send(api, a=b"result")
    fetch(api, home)
    assert (outside.read_text(), (home / "a").read_text(), (home / "a").is_symlink()) == ("precious", "result", False)


@pytest.mark.parametrize("plant", ["symlink", "dangling", "hard link", "fifo"])
def test_a_part_cannot_be_planted(api: Api, bucket: str, tmp_path: Path, plant: str) -> None:
    """Whoever knows a result's digest knows its part's name."""
    home, outside, body = tmp_path / "home", tmp_path / "outside", b"result"
    home.mkdir()
    outside.write_text("precious")
    send(api, a=body)
    planted = part(home, "a", hashlib.sha256(body).hexdigest())
    if plant == "symlink":
        planted.symlink_to(outside)
    elif plant == "dangling":
        planted.symlink_to(tmp_path / "made")
    elif plant == "hard link":
        planted.hardlink_to(outside)
    else:
        os.mkfifo(planted)
    fetch(api, home)
    assert content(home) == {"a": "result"}
    assert outside.read_text() == "precious"
    assert not (tmp_path / "made").exists()


def test_a_part_that_another_result_has_planted(api: Api, bucket: str, tmp_path: Path) -> None:
    """Such a name is nobody's result, whatever was asked for."""
    digest = hashlib.sha256(b"b").hexdigest()
    planted = part(tmp_path, "out/b", digest).name
    send(api, **{f"out/{planted}": b"x", "out/b": b"b"})
    fetch(api, tmp_path, "out")
    assert content(tmp_path) == {"out/b": "b"}
    assert told(api, "out").not_written == (f"out/{planted}",)


def test_a_name_as_long_as_a_file_system_takes(api: Api, bucket: str, tmp_path: Path) -> None:
    name = "a" * 255
    send(api, **{name: b"x"})
    fetch(api, tmp_path)
    assert content(tmp_path) == {name: "x"}


def test_an_object_that_is_larger_than_was_said_fills_no_disk(api: Api, bucket: str, tmp_path: Path) -> None:
    send(api, a=b"small")
    api.put(BUCKET, PREFIX.result("a"), b"small" * 1_000_000)
    assert fetch(api, tmp_path) == 5
    assert content(tmp_path) == {"a": "small"}


@pytest.mark.parametrize("size", [5, 0])
def test_an_object_that_is_not_there_or_shorter(api: Api, bucket: str, tmp_path: Path, size: int) -> None:
    send(api, a=b"small" * 2)
    if size:
        api.put(BUCKET, PREFIX.result("a"), b"x" * size)
    else:
        api.call("s3", "delete_object", Bucket=BUCKET, Key=PREFIX.result("a"))
    with pytest.raises(ResultsDamaged, match="The result a "):
        fetch(api, tmp_path)
    assert content(tmp_path).keys() <= {part(tmp_path, "a", hashlib.sha256(b"small" * 2).hexdigest()).name}


def test_a_manifest_is_not_read_beyond_what_it_may_be(
    api: Api, bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("skylift.client.collect.results.MANIFEST_LIMIT", 1000)
    api.put(BUCKET, PREFIX.manifest, b" " * 1001)
    with pytest.raises(RecordDamaged, match="more than 1000 bytes"):
        fetch(api, tmp_path)


def pack(api: Api, files: dict[str, bytes], *, gap: int = 512, **lies: object) -> None:
    """A manifest of results that share an object, each after a gap, as of a header. `lies` go over each entry."""
    whole, entries = b"", []
    for path, body in files.items():
        whole += bytes(gap)
        entries.append(
            {"path": path, "size": len(body), "sha256": hashlib.sha256(body).hexdigest(), "at": ["", len(whole)]}
        )
        whole += body
    key = f"packs/{hashlib.sha256(whole).hexdigest()}.tar"
    for entry in entries:
        entry["at"] = [key, entry["at"][1]]  # type: ignore[index]
        entry.update(lies)
    api.put(BUCKET, PREFIX.shared(key), whole)
    api.put(BUCKET, PREFIX.manifest, json.dumps({"results": entries}).encode())


def test_the_size_of_all_results_is_added_up_once(api: Api, bucket: str, tmp_path: Path) -> None:
    """Not for each of thousands of results whose progress is told."""

    class Counted(tuple[Result, ...]):
        times = 0

        def __iter__(self) -> Iterator[Result]:
            Counted.times += 1
            return super().__iter__()

    pack(api, {f"out/{number}": b"x" for number in range(50)})
    manifest = told(api, "out")
    counted = replace(manifest, results=Counted(manifest.results))
    for _ in manifest.results:
        assert counted.size == 50
    assert Counted.times == 1


@pytest.mark.parametrize("unnamed", [True, False], ids=["linked", "renamed"])
def test_results_that_share_an_object(
    api: Api, bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, unnamed: bool
) -> None:
    """Asked for together, as far as they lie together; one that is large is not taken into memory. A system without
    files that have no name is like any other."""
    if not unnamed:
        monkeypatch.delattr(os, "O_TMPFILE")
    monkeypatch.setattr(collect, "_SPAN", 3000)
    files = {f"out/{number}/f": bytes([65 + number]) * 500 for number in range(20)}
    files |= {"out/empty": b"", "out/large": b"x" * 5000, "out/last": b"", "out/far": b"y" * 100}
    pack(api, files)
    asked: list[int] = []
    stream = api.stream

    def counted(bucket: str, key: str, target: Sink, offset: int = 0, most: int | None = None) -> Iterator[int]:
        asked.append(most or 0)
        return stream(bucket, key, target, offset, most)

    monkeypatch.setattr(api, "stream", counted)
    assert fetch(api, tmp_path, "out") == sum(map(len, files.values()))
    assert content(tmp_path) == {path: body.decode() for path, body in files.items()}
    assert len(asked) < len(files) / 2
    # And from another place, later, only what is not there.
    (tmp_path / "out/3/f").write_bytes(b"other")
    asked.clear()
    fetch(api, tmp_path, "out")
    assert len(asked) == 1
    assert (tmp_path / "out/3/f").read_bytes() == b"D" * 500


def test_small_results_on_a_file_system_without_links(
    api: Api, bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried: list[bytes] = []

    def link(source: str, name: bytes, **how: int) -> None:
        tried.append(name)
        raise OSError(errno.EPERM, os.strerror(errno.EPERM))

    monkeypatch.setattr(os, "link", link)
    pack(api, {"out/a": b"x", "out/b": b"y"})
    fetch(api, tmp_path, "out")
    assert content(tmp_path) == {"out/a": "x", "out/b": "y"}
    # Those that follow are not tried.
    assert tried == [b"a"]


def test_a_small_result_replaces_a_link_of_its_name(api: Api, bucket: str, tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("mine")
    (tmp_path / "out").mkdir()
    (tmp_path / "out/a").symlink_to(tmp_path / "mine")
    (tmp_path / "out/b").symlink_to(tmp_path / "nowhere")
    pack(api, {"out/a": b"x", "out/b": b"y"})
    fetch(api, tmp_path, "out")
    assert content(tmp_path) == {"mine": "mine", "out/a": "x", "out/b": "y"}
    assert not (tmp_path / "out/a").is_symlink()


def test_only_results_of_a_pack_are_asked_for(api: Api, bucket: str, tmp_path: Path) -> None:
    pack(api, {"out/a": b"good", ".bashrc": b"evil", "job.py": b"evil"})
    fetch(api, tmp_path, "*", "out", script="job.py")
    assert content(tmp_path) == {"out/a": "good"}


@pytest.mark.parametrize(
    "lies",
    [
        {"sha256": "0" * 64},
        {"size": 5},
        {"size": 1 << 60},
        {"at": [f"packs/{'0' * 64}.tar", 0]},
        {"at": [f"packs/{'0' * 64}.tar", 1 << 60]},
    ],
    ids=["digest", "longer", "endless", "no such pack", "far behind its end"],
)
def test_a_pack_that_is_not_as_the_manifest_says(
    api: Api, bucket: str, tmp_path: Path, lies: dict[str, object]
) -> None:
    pack(api, {"a": b"evil"}, **lies)
    with pytest.raises(ResultsDamaged, match="The result a "):
        fetch(api, tmp_path)
    assert not (tmp_path / "a").exists()


def test_what_is_wrong_with_one_holds_up_no_other(api: Api, bucket: str, tmp_path: Path) -> None:
    """Neither in a pack nor beside it; the trouble is told once all others are here."""
    (tmp_path / "out").mkdir()
    (tmp_path / "out/1").mkdir()
    pack(api, {f"out/{number}": b"x" * number for number in range(4)})
    with pytest.raises(ResultsDamaged, match=r"out/1 cannot be written here"):
        fetch(api, tmp_path, "out")
    assert content(tmp_path).keys() == {"out/0", "out/2", "out/3"}


BAD_NAME = os.fsdecode(b"caf\xe9.txt")


@pytest.mark.parametrize("packed", [True, False])
def test_a_name_that_is_no_utf_8_comes_home_as_it_was(api: Api, bucket: str, tmp_path: Path, packed: bool) -> None:
    if packed:
        pack(api, {BAD_NAME: b"x", "a": b"y"})
    else:
        digest = hashlib.sha256(b"x").hexdigest()
        key = f"files/{hashlib.sha256(os.fsencode(BAD_NAME)).hexdigest()}"
        api.put(BUCKET, PREFIX.shared(key), b"x")
        entry = {"path": BAD_NAME, "size": 1, "sha256": digest, "at": [key, 0]}
        api.put(BUCKET, PREFIX.manifest, json.dumps({"results": [entry]}).encode())
    fetch(api, tmp_path, "*")
    assert (Path(os.fsencode(tmp_path).decode()) / BAD_NAME).read_bytes() == b"x"
    assert os.fsencode(BAD_NAME) in os.listdir(os.fsencode(tmp_path))


def test_a_name_that_no_file_here_can_have_is_told_and_the_rest_comes(
    api: Api, bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rename = os.rename

    def short(old: str, new: bytes, **how: int) -> None:
        """As of a file system of an encrypted home, which takes 143 bytes."""
        if len(new) > 143:
            raise OSError(errno.ENAMETOOLONG, os.strerror(errno.ENAMETOOLONG))
        rename(old, new, **how)

    monkeypatch.setattr(os, "rename", short)
    name = "a" * 200
    send(api, **{name: b"x", "a.txt": b"y"})
    manifest = bring_home(api, BUCKET, PREFIX, told(api), tmp_path, lambda _: None)
    assert [each.path for each in manifest.results] == ["a.txt"]
    assert [each.path for each in manifest.missing] == [name]
    assert content(tmp_path) == {"a.txt": "y"}


def test_what_the_server_could_not_send_is_told(api: Api, bucket: str, tmp_path: Path) -> None:
    entry = {"path": "out/a", "reason": "Permission denied"}
    manifest = {"results": [], "not_sent": [entry], "changed": ["out/b"]}
    api.put(BUCKET, PREFIX.manifest, json.dumps(manifest).encode())
    found = told(api)
    assert [(each.path, each.reason) for each in found.missing] == [("out/a", "Permission denied")]
    assert found.changed == ("out/b",)


@pytest.mark.parametrize(
    "at",
    [
        ["../record.json", 0],
        ["packs/x.tar", 0],
        ["packs/../../in/env.json", 0],
        [f"files/{'0' * 64}", -1],
        [1, 2],
        [""],
    ],
)
def test_a_place_that_no_supervisor_writes(api: Api, bucket: str, tmp_path: Path, at: list[object]) -> None:
    pack(api, {"a": b"evil"}, at=at)
    with pytest.raises(RecordDamaged, match="`at`"):
        fetch(api, tmp_path)
