"""What is sent as a checkpoint, and what is not: never half of one."""

from __future__ import annotations

import contextlib
import json
import mmap
import os
import pwd
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from at_opening import at_opening
from kept_prefix import KeptPrefix, Killed, nothing
from support.deep_tree import deepen, lengthen

from skylift.agent.job.attempts import Attempts, key_of
from skylift.agent.job.outcome import Ended
from skylift.agent.machine.remove_tree import remove_below
from skylift.agent.remote.aws import Unreachable
from skylift.agent.spot.checkpoint import Checkpoint, Look, Sent, is_written, look
from skylift.agent.spot.checkpoint_archive import CannotCheckpoint, pack

Bucket = KeptPrefix


class Attempt:
    def __init__(self, number: int = 1, **fields: Any) -> None:
        self.number, self.fields = number, fields

    def note(self, until: float = 0.0, **fields: Any) -> None:
        self.fields.update(fields)

    @property
    def kept(self) -> str:
        return str(self.fields["checkpoint"]["key"])


@pytest.fixture
def bucket() -> Bucket:
    return Bucket()


def checkpoint(folder: Path, bucket: Any, attempt: Any, name: str = "job/state") -> Checkpoint:
    (folder / "job").mkdir(exist_ok=True)
    return Checkpoint(folder / name, bucket, attempt, pwd.getpwuid(os.geteuid()), folder / "spool")


def rewrite(path: Path, text: str) -> None:
    """As programs should."""
    part = path.with_name("part")
    part.write_text(text)
    part.replace(path)


def test_a_file_is_there_again_as_it_was(tmp_path: Path, bucket: Bucket) -> None:
    attempt = Attempt()
    first = checkpoint(tmp_path, bucket, attempt)
    first.path.write_text("12345")
    first.path.chmod(0o640)
    assert first.send(0)
    assert not first.send(0), "it is there already"
    first.path.write_text("what is on a server that was taken away")
    second = checkpoint(tmp_path, bucket, Attempt(2, **attempt.fields))
    second.restore(tmp_path, 0)
    assert second.path.read_text() == "12345"
    assert second.path.stat().st_mode & 0o777 == 0o640


def test_a_folder_is_there_again_and_nothing_else_in_it(tmp_path: Path, bucket: Bucket) -> None:
    attempt = Attempt()
    first = checkpoint(tmp_path, bucket, attempt)
    (first.path / "deep").mkdir(parents=True)
    (first.path / "deep/model").write_bytes(b"\0" * 1000)
    assert first.send(0)
    (first.path / "younger").write_text("")
    second = checkpoint(tmp_path, bucket, Attempt(2, **attempt.fields))
    second.restore(tmp_path, 0)
    assert [path.name for path in second.path.rglob("*") if path.is_file()] == ["model"]
    assert not (tmp_path / "spool").exists()


@pytest.mark.parametrize("kind", ["file", "folder"])
@pytest.mark.parametrize("by_itself", [True, False])
def test_what_was_written_through_memory_after_it_was_sent_is_seen_at_the_end(
    tmp_path: Path, bucket: Bucket, kind: str, *, by_itself: bool
) -> None:
    """The time of a file that is mapped (numpy.memmap) stays as it is. Of a program that was killed, it may be half."""
    attempt = Attempt()
    found = checkpoint(tmp_path, bucket, attempt)
    if kind == "folder":
        found.path.mkdir()
    place = found.path / "array" if kind == "folder" else found.path
    with place.open("w+b") as file:
        file.truncate(4096)
        with mmap.mmap(file.fileno(), 4096) as memory:
            memory[0] = 1
            assert found.send(0)
            sent = bucket.objects[attempt.kept]
            memory[0] = 2
    assert found.finish(time.time() + 60, by_itself=by_itself) == by_itself
    assert (bucket.objects[attempt.kept] != sent) == by_itself
    assert not (tmp_path / "spool").exists()


def test_what_is_as_it_was_sent_is_not_sent_again(tmp_path: Path, bucket: Bucket) -> None:
    attempt = Attempt()
    for kind in ("file", "folder"):
        found = checkpoint(tmp_path, bucket, attempt, f"job/{kind}")
        place = found.path
        if kind == "folder":
            found.path.mkdir()
            place = found.path / "inner"
        place.write_text("whole")
        assert found.send(0)
        before = attempt.kept
        assert found.finish(time.time() + 60, by_itself=True)
        assert attempt.kept == before


def test_one_that_is_written_over_while_it_is_read_is_not_taken(tmp_path: Path, bucket: Bucket) -> None:
    attempt = Attempt()
    found = checkpoint(tmp_path, bucket, attempt)
    found.path.write_text("whole")
    assert found.send(0)
    whole = attempt.kept
    found.path.write_text("another")
    bucket.during = lambda: found.path.write_text("half")
    assert not found.send(0)
    assert attempt.kept == whole
    assert bucket.objects[whole] == b"whole"


def test_one_that_is_renamed_over_while_it_is_read_is_whole(tmp_path: Path, bucket: Bucket) -> None:
    attempt = Attempt()
    found = checkpoint(tmp_path, bucket, attempt)
    found.path.write_text("first")
    bucket.during = lambda: rewrite(found.path, "second")
    assert found.send(0)
    assert bucket.objects[attempt.kept] == b"first"
    bucket.during = lambda: None
    assert found.send(0), "the second is another one"
    assert bucket.objects[attempt.kept] == b"second"


def test_a_folder_that_changes_while_it_is_packed_is_not_taken(
    tmp_path: Path, bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    import tarfile

    attempt = Attempt()
    found = checkpoint(tmp_path, bucket, attempt)
    found.path.mkdir()
    (found.path / "a").write_text("1")
    pack = tarfile.TarFile.addfile

    def add_and_change(*args: Any, **more: Any) -> None:
        pack(*args, **more)
        (found.path / "b").write_text("2")

    monkeypatch.setattr(tarfile.TarFile, "addfile", add_and_change)
    assert not found.send(0)
    assert attempt.fields["checkpoint"] is None


def test_those_before_are_there_until_the_next_ones_are(tmp_path: Path, bucket: Bucket) -> None:
    attempt = Attempt()
    found = checkpoint(tmp_path, bucket, attempt)
    for number in range(6):
        rewrite(found.path, str(number))
        assert found.send(0)
    assert sorted(bucket.objects.values()) == [b"3", b"4", b"5"]
    assert bucket.objects[attempt.kept] == b"5"


def test_who_has_it_open_for_writing_is_seen(tmp_path: Path) -> None:
    folder = tmp_path / "state"
    folder.mkdir()
    source = "import sys; file = open(sys.argv[1], sys.argv[2]); print('open', flush=True); input()"
    for mode, written in (("w", True), ("r", False)):
        writer = subprocess.Popen(
            [sys.executable, "-c", source, folder / "part", mode], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        assert writer.stdout is not None
        writer.stdout.readline()
        assert is_written(folder) is written
        assert is_written(folder / "part") is written
        writer.communicate(b"\n")
    assert not is_written(folder)


def test_what_changed_in_place_after_sigterm_counts_only_from_who_ended_by_itself(
    tmp_path: Path, bucket: Bucket
) -> None:
    for by_itself, kept in ((True, b"maybe half"), (False, b"whole")):
        attempt = Attempt()
        found = checkpoint(tmp_path, bucket, attempt)
        found.path.write_text("whole")
        found.send(0)
        found.mark()
        found.path.write_text("maybe half")
        assert found.finish(0, by_itself=by_itself) is by_itself
        assert bucket.objects[attempt.kept] == kept


def test_what_was_whole_at_sigterm_or_is_renamed_counts_from_everybody(tmp_path: Path, bucket: Bucket) -> None:
    attempt = Attempt()
    found = checkpoint(tmp_path, bucket, attempt)
    found.path.write_text("at SIGTERM")
    found.mark()
    assert found.finish(0, by_itself=False)
    assert bucket.objects[attempt.kept] == b"at SIGTERM"
    found = checkpoint(tmp_path, bucket, attempt)
    found.mark()
    rewrite(found.path, "renamed")
    assert found.finish(0, by_itself=False)
    assert bucket.objects[attempt.kept] == b"renamed"


def test_none_is_no_trouble(tmp_path: Path, bucket: Bucket) -> None:
    found = checkpoint(tmp_path, bucket, Attempt())
    found.restore(tmp_path, 0)
    found.mark()
    assert found.finish(0, by_itself=False)
    assert look(found.path) is None
    assert bucket.objects == {}


def test_one_that_is_damaged_on_its_way_is_not_used(tmp_path: Path, bucket: Bucket) -> None:
    attempt = Attempt()
    found = checkpoint(tmp_path, bucket, attempt)
    found.path.write_text("whole")
    found.send(0)
    bucket.objects[attempt.kept] = b"other"
    with pytest.raises(Ended, match="not the one that was sent"):
        checkpoint(tmp_path, bucket, attempt).restore(tmp_path, 0)


def test_how_old_it_is_goes_by_its_last_change_whatever_time_it_has(tmp_path: Path) -> None:
    """Whoever copies a file gives it the time of the old one."""
    path = tmp_path / "state"
    path.write_text("1")
    then = time.time() - 60
    os.utime(path, (then, then))
    found = look(path)
    assert found is not None
    assert found.age < 50
    assert Look((("", 1, 1, int(then * 1e9)),)).age > 50


# What is kept, over every call that may fail and every moment in which a supervisor may be killed.


class Ec2:
    def __init__(self, ours: str) -> None:
        self._ours = ours

    def instance(self) -> str:
        return self._ours

    def url(self, service: str) -> str:
        return "http://endpoint"

    def send(self, *_: object) -> tuple[int, dict[str, str], bytes]:
        return 200, {}, b"<currentState><name>terminated</name></currentState>"


def life(folder: Path, bucket: KeptPrefix, server: int) -> tuple[Checkpoint, Any]:
    """A supervisor, as it begins on this server."""
    attempt = Attempts(bucket, Ec2(f"i-{server}"), time.time() + 60, 0.001).claim()  # type: ignore[arg-type]
    assert attempt is not None
    return checkpoint(folder, bucket, attempt), attempt


def named(bucket: KeptPrefix) -> list[str]:
    """The keys that the newest attempt in S3 names, the newest first."""
    number = max((int(key.rsplit("/")[-1][:-5]) for key in bucket.objects if "attempts/" in key), default=0)
    fields = json.loads(bucket.objects.get(key_of(number), b"{}"))
    return [each["key"] for each in [fields.get("checkpoint"), *(fields.get("earlier") or [])] if each]


def checkpoints(bucket: KeptPrefix) -> set[str]:
    return {key for key in bucket.objects if "checkpoint/" in key}


SENDS = 5


def play(folder: Path, bucket: KeptPrefix, server: int) -> None:
    """Send one after the other, as the supervisor does; whatever fails is tried again."""
    found, _ = life(folder, bucket, server)
    for number in range(SENDS):
        rewrite(found.path, f"state {number}")
        for _ in range(3):
            try:
                if found.send(0):
                    break
            except Unreachable:
                continue


@pytest.mark.parametrize("step", ["asked", "done"])
@pytest.mark.parametrize("kind", [Killed, Unreachable])
@pytest.mark.parametrize("heir", ["a new supervisor", "another server"])
def test_what_an_attempt_names_is_there_whatever_fails_and_whoever_is_killed(
    tmp_path: Path, step: str, kind: type[BaseException], heir: str
) -> None:
    whole = KeptPrefix()
    play(tmp_path, whole, 1)
    for moment in range(1, len(whole.calls) + 1):
        bucket, count = KeptPrefix(), 0

        def strike(now: str, verb: str, key: str, bucket: KeptPrefix = bucket, moment: int = moment) -> None:
            nonlocal count
            if "attempts/" in "".join(bucket.objects):
                assert set(named(bucket)) <= set(bucket.objects), (
                    f"at call {moment} the attempt names what is not there"
                )
            count += now == step
            if count == moment and now == step:
                count += 1
                raise kind("struck")

        bucket.fault = strike
        with contextlib.suppress(Killed):
            # The claim itself asks until it is answered.
            play(tmp_path, bucket, 1)
        assert set(named(bucket)) <= set(bucket.objects)
        bucket.fault = nothing
        play(tmp_path, bucket, 1 if heir == "a new supervisor" else 2)
        kept = named(bucket)
        assert bucket.objects[kept[0]] == b"state 4"
        assert set(kept) == checkpoints(bucket), f"struck at call {moment}: what nobody names is left"
        sent = [key for key in bucket.written if "checkpoint/" in key]
        assert len(sent) == len(set(sent)), "a key was used twice"
        found, _ = life(tmp_path, bucket, 9)
        found.path.unlink()
        found.restore(tmp_path, 0)
        assert found.path.read_text() == "state 4"


def test_the_ones_before_are_gone_on_from_when_the_newest_are_missing_or_damaged(
    tmp_path: Path, bucket: KeptPrefix
) -> None:
    play(tmp_path, bucket, 1)
    newest, before, last = named(bucket)
    del bucket.objects[newest]
    bucket.objects[before] = b"damaged"
    found, attempt = life(tmp_path, bucket, 2)
    found.restore(tmp_path, time.time() + 60)
    assert found.path.read_text() == "state 2"
    assert named(bucket) == [last] == [attempt.fields["checkpoint"]["key"]]
    assert checkpoints(bucket) == {last}
    del bucket.objects[last]
    with pytest.raises(Ended, match="not in the job's prefix"):
        life(tmp_path, bucket, 3)[0].restore(tmp_path, time.time() + 60)


def test_one_that_nobody_can_have_sent_is_none(tmp_path: Path, bucket: KeptPrefix) -> None:
    good = {"key": "server/checkpoint/1-0", "sha256": "0" * 64, "size": 1, "kind": "file", "mode": 0o644}
    good.update(attempt=1, time=1.5)
    assert Sent.parse(good) is not None
    wrong: list[tuple[str, Any]] = [
        ("key", "server/checkpoint/../../x"), ("key", "in/env.json"), ("key", 1), ("sha256", "x"), ("size", -1),
        ("size", "1"), ("size", True), ("kind", "device"), ("mode", None), ("attempt", 1 << 70), ("time", "now"),
    ]  # fmt: skip
    for name, value in wrong:
        assert Sent.parse({**good, name: value}) is None, (name, value)
    assert [Sent.parse(each) for each in (None, [], 1, "x", {})] == [None] * 5
    hostile = Attempt(2, checkpoint={"key": "in/env.json"}, earlier=1, strays=[1, "in/env.json"])
    with pytest.raises(Ended, match="could be one"):
        checkpoint(tmp_path, bucket, hostile).restore(tmp_path, 0)
    assert bucket.calls == []


def test_one_that_is_written_between_two_looks_is_not_taken(tmp_path: Path, bucket: KeptPrefix) -> None:
    """It was found to be settled, and is not what is sent."""
    found = checkpoint(tmp_path, bucket, Attempt())
    found.path.write_text("whole")
    ready = look(found.path)
    assert ready is not None
    found.path.write_text("half")
    assert not found.send(0, ready)
    assert checkpoints(bucket) == set()


def test_a_folder_that_is_packed_is_not_exchanged_on_the_way(tmp_path: Path, bucket: KeptPrefix) -> None:
    found = checkpoint(tmp_path, bucket, Attempt())
    for place, content in (("job/state", b"own"), ("root/state", b"root's")):
        (tmp_path / place).mkdir(parents=True)
        (tmp_path / place / "model").write_bytes(content)

    def exchange() -> None:
        (tmp_path / "job").rename(tmp_path / "moved")
        (tmp_path / "job").symlink_to("root")

    packed = tmp_path / "packed"
    with packed.open("wb") as file, at_opening("model", exchange):
        pack(found.path, file)
    assert b"own" in packed.read_bytes()
    assert b"root's" not in packed.read_bytes()


def test_what_is_no_file_is_refused_and_holds_nobody_up(tmp_path: Path, bucket: KeptPrefix) -> None:
    found = checkpoint(tmp_path, bucket, Attempt())
    os.mkfifo(found.path)
    with pytest.raises(CannotCheckpoint, match="is a FIFO"):
        found.send(0)
    assert not found.finish(0, by_itself=True)
    assert "is a FIFO" in found.refused
    found.path.unlink()
    found.path.symlink_to("state")
    assert look(found.path) is None
    assert found.finish(0, by_itself=True)


def test_one_that_becomes_a_fifo_as_it_is_compared_holds_nobody_up(tmp_path: Path, bucket: KeptPrefix) -> None:
    """The end of an attempt is told after that."""
    found = checkpoint(tmp_path, bucket, Attempt())
    found.path.write_text("whole")
    assert found.send(0)

    def exchange() -> None:
        found.path.unlink()
        os.mkfifo(found.path)

    with at_opening("state", exchange):
        assert not found.finish(time.time() + 60, by_itself=True)
    assert len(checkpoints(bucket)) == 1


@pytest.fixture
def deep(tmp_path: Path) -> Iterator[Path]:
    """A folder that pytest could not remove."""
    (tmp_path / "job/state").mkdir(parents=True)
    yield tmp_path / "job/state"
    remove_below(tmp_path, tmp_path / "job/state")


@pytest.mark.parametrize(("length", "by_itself"), [(4_001, True), (4_080, False), (4_095, True), (0, False)])
def test_a_path_that_is_too_long_is_told_and_the_checkpoint_before_stays(
    tmp_path: Path, deep: Path, bucket: KeptPrefix, length: int, *, by_itself: bool
) -> None:
    """Some could be packed, and not restored. Some could not be looked at, and counted as no checkpoint."""
    attempt = Attempt()
    found = checkpoint(tmp_path, bucket, attempt)
    (deep / "model").write_text("good")
    assert found.send(0)
    kept = attempt.kept
    if length:
        lengthen(deep, length)
    else:
        deepen(deep / "zero", 6_000)
    found.mark()
    assert not found.finish(time.time() + 60, by_itself=by_itself)
    assert re.fullmatch(r"(n{200}|zero(/d){98})\.\.\. is at a path of more than 4000 bytes, .*", found.refused)
    assert attempt.kept == kept
    assert checkpoints(bucket) == {kept}
    found = checkpoint(tmp_path, bucket, Attempt(2, **attempt.fields))
    found.restore(tmp_path, 0)
    assert [each.name for each in deep.iterdir()] == ["model"], "that one is restored, and nothing else is there"


def test_one_that_becomes_too_deep_is_sent_when_it_is_mended(tmp_path: Path, deep: Path, bucket: KeptPrefix) -> None:
    found = checkpoint(tmp_path, bucket, Attempt())
    deepen(deep / "d", 2_100)
    with pytest.raises(CannotCheckpoint):
        found.send(0)
    remove_below(deep, deep / "d")
    (deep / "model").write_text("good")
    assert found.send(0)
    assert found.finish(time.time() + 60, by_itself=True)


def test_what_is_said_of_names_of_any_bytes_is_short(tmp_path: Path, bucket: KeptPrefix) -> None:
    """A status with a longer text is one that no supervisor writes: the client would call the job damaged."""
    found = checkpoint(tmp_path, bucket, Attempt())
    place = os.fsencode(found.path)
    for _ in range(12):
        place += b"/" + b"\xff" * 255
    os.makedirs(place)
    os.symlink(b"/" + b"\xfe" * 4_000, place + b"/link")
    assert not found.finish(time.time() + 60, by_itself=True)
    assert "is a link to" in found.refused
    assert len(found.refused) < 1_000
