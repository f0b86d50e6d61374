"""What a record tells of running a job again, and its files, fetched and checked."""

from __future__ import annotations

import hashlib
import io
import json
import os
import tarfile
from pathlib import Path
from typing import Any

import pytest

from skylift.client.errors import RecordDamaged, RunError
from skylift.client.job.job import Program
from skylift.client.job.repeat import MOST_BYTES, parse_repeat
from skylift.client.job.run_options import OPTIONS
from skylift.client.job.settings import OneImage, Settings
from skylift.client.remote.account import Account
from skylift.console.fetch_job_files import fetch_files
from skylift.console.job_wish import NOT_RECORDED, again_spec, spell_not_recorded, wish_again
from skylift.console.submission import Whole, plan
from skylift.contract.record import Environment, JobRecord

PLAIN = {
    "created": 1,
    "deadline": 2,
    "argv": ["python", "job.py", "a b"],
    "python": True,
    "cwd": ".",
    "packs": [{"sha256": "a" * 64, "files": 1, "size": 10}],
    "environment": {"kind": "script", "path": "job.py", "python": "3.12"},
    "outputs": ["out"],
    "instance_type": "t3.micro",
    "max_time": 600,
    "has_env": True,
}


def repeat_of(**different: Any) -> Any:
    return parse_repeat("record.json", json.dumps({**PLAIN, **different}).encode())


def test_a_record_has_the_command() -> None:
    found = repeat_of(spot={"checkpoint": "state"}, retry={"times": 2, "on": [[1, 1], [7, 9]]}, keep=1800)
    assert found.environment == Environment("script", "job.py", "3.12")
    assert found.had_env
    assert wish_again(found).missing({"t3.micro"}) == []
    assert again_spec(found, wish_again(found)).command == (
        "skylift run -d --keep 1800 --python 3.12 --spot --checkpoint state --retries 2 --retry-on 1-1 --retry-on 7-9 "
        "--out out --type t3.micro --max-time 600s job.py 'a b'"
    )


@pytest.mark.parametrize(
    ("argv", "python", "program"),
    [
        (["python", "-m", "a.b", "c"], True, Program("module", "a.b", ("c",))),
        (["python", "x.py"], False, Program("command", "python", ("x.py",))),
        (["ls"], False, Program("command", "ls")),
    ],
)
def test_a_program_is_of_its_kind(argv: list[str], python: bool, program: Program) -> None:
    assert repeat_of(argv=argv, python=python).program == program


@pytest.mark.parametrize(
    ("different", "said"),
    [
        ({"map": {"tools": None}}, "It is a map"),
        ({"terminal": {"term": "xterm"}}, "It was interactive"),
        ({"stdin": True}, "It read standard input"),
        ({"has_s3": True}, "It had inputs from S3"),
        ({"large": [{"place": "x", "sha256": "a" * 64}]}, "Its files are large"),
        ({"packs": [{"sha256": "a" * 64, "size": MOST_BYTES + 1}]}, "Its files are large"),
        ({"schedule": {"overlap": "skip", "lasts": 1}}, "It is a schedule's"),
    ],
)
def test_what_cannot_be_run_again_is_said(different: dict[str, Any], said: str) -> None:
    (found,) = repeat_of(**different).obstacles
    assert found.startswith(said)


@pytest.mark.parametrize(
    "different",
    [
        {"argv": []},
        {"argv": [1]},
        {"cwd": "../.."},
        {"cwd": "/etc"},
        {"packs": [{"sha256": "../../x"}]},
        {"packs": [{}]},
        {"large": [{"place": "x"}]},
        {"environment": {"kind": "shell"}},
        {"environment": {"kind": "script", "path": "/etc/passwd"}},
        {"environment": {"kind": "script", "python": "3.12; reboot"}},
        {"retry": {"times": 1, "on": [["1", "2"]]}},
    ],
)
def test_a_hostile_record_is_refused(different: dict[str, Any]) -> None:
    with pytest.raises(RecordDamaged):
        repeat_of(**different)


NOT_REPEATED = {
    "version created deadline job promised": "of that run",
    "has_s3 large stdin terminal map schedule": "obstacles, each with its own words",
    "choice image uv prebuilt seal capped log_cap": "found anew for each job",
    "cap": "the new run's own words",
    "spares_tracked": "of what git tracks in its own folder, which is not here",
}
REPEATED: dict[str, Any] = {
    "argv": ["ls"],
    "python": False,
    "cwd": "a",
    "packs": [{"sha256": "b" * 64}],
    "environment": {"kind": "project"},
    "outputs": [],
    "has_env": False,
    "max_time": 1,
    "idle": 1,
    "sync_every": 1,
    "keep": 1,
    "instance_type": "c7i.large",
    "spot": {},
    "retry": {"times": 1},
    "cluster": {"servers": 2},
}


def test_each_field_of_a_record_is_repeated_or_left_out_for_a_reason() -> None:
    assert {*REPEATED, *(name for names in NOT_REPEATED for name in names.split())} == set(JobRecord._fields)
    for name, value in REPEATED.items():
        assert repeat_of(**{name: value}) != repeat_of(), name


class Bucket:
    """What the API has to give here."""

    def __init__(self) -> None:
        self.content: dict[str, bytes] = {}

    def get(self, bucket: str, key: str, most: int) -> bytes | None:
        return self.content.get(key)

    def put(self, *entries: tuple[tarfile.TarInfo, bytes]) -> str:
        target = io.BytesIO()
        with tarfile.open(fileobj=target, mode="w:gz") as archive:
            for entry, content in entries:
                archive.addfile(entry, io.BytesIO(content))
        data = target.getvalue()
        digest = hashlib.sha256(data).hexdigest()
        self.content[f"inputs/sha256/{digest}"] = data
        return digest


@pytest.fixture
def bucket() -> Bucket:
    return Bucket()


@pytest.fixture
def account(bucket: Bucket, tmp_path: Path) -> Account:
    settings = Settings("us-east-1", tmp_path / "keys", OneImage("ami-1"), lambda: "192.0.2.1")
    return Account(bucket, settings, "123456789012", "bucket")  # type: ignore[arg-type]


def file(name: str, content: bytes = b"x", mode: int = 0o644) -> tuple[tarfile.TarInfo, bytes]:
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode = len(content), mode
    return entry, content


def special(name: str, kind: bytes, target: str = "") -> tuple[tarfile.TarInfo, bytes]:
    entry = tarfile.TarInfo(name)
    entry.type, entry.linkname = kind, target
    return entry, b""


DEEP = special("c/d/deep", tarfile.SYMTYPE, "../../a")
"""A link to a folder that is less deep: from there, `..` leads further than the words of a path say."""


def test_files_come_back_as_they_were_sent(account: Account, bucket: Bucket, tmp_path: Path) -> None:
    one = bucket.put(file("a/job.py", b"print(1)", 0o755), special("a/link", tarfile.SYMTYPE, "../data"))
    two = bucket.put(file("data", b"1"))
    place = tmp_path / "place"
    place.mkdir()
    fetch_files(account, [one, two], place)
    assert (place / "a/job.py").read_bytes() == b"print(1)"
    assert (place / "a/job.py").stat().st_mode & 0o777 == 0o700
    assert (place / "data").stat().st_mode & 0o777 == 0o600
    assert (place / "a/link").read_bytes() == b"1"


@pytest.mark.parametrize(
    "entries",
    [
        [file("../evil")],
        [file("/evil")],
        [file("a/../../evil")],
        [file(".git/config")],
        [file("a/.GIT/config")],
        [file("a"), file("a")],
        [file("a"), file("a/b")],
        [special("pipe", tarfile.FIFOTYPE)],
        [special("disk", tarfile.BLKTYPE)],
        [file("a"), special("hard", tarfile.LNKTYPE, "/etc/passwd")],
        [special("link", tarfile.SYMTYPE, "/etc/passwd")],
        [special("link", tarfile.SYMTYPE, "../evil")],
        [special("link", tarfile.SYMTYPE, "x"), file("link", b"x"), file("x")],
        [file("a/b"), DEEP, special("link", tarfile.SYMTYPE, "c/d/deep/../../secret")],
        [file("a/b"), special("link", tarfile.SYMTYPE, "c/d/deep/../../secret"), DEEP],
        [
            file("a/b"),
            DEEP,
            special("link", tarfile.SYMTYPE, "c/d/deep/../.."),
            special("link/evil", tarfile.SYMTYPE, "a"),
        ],
    ],
)
def test_a_hostile_archive_is_refused(entries: Any, account: Account, bucket: Bucket, tmp_path: Path) -> None:
    place = tmp_path / "place"
    place.mkdir()
    with pytest.raises(RunError, match="The files of this job"):
        fetch_files(account, [bucket.put(*entries)], place)
    assert not os.path.lexists(tmp_path / "evil")


def test_nothing_is_written_through_a_link(account: Account, bucket: Bucket, tmp_path: Path) -> None:
    place = tmp_path / "place"
    place.mkdir()
    with pytest.raises(RunError):
        fetch_files(account, [bucket.put(special("a", tarfile.SYMTYPE, "b"), file("a/c"))], place)
    assert not (place / "b").exists()


def test_what_is_gone_changed_or_too_large_is_said(account: Account, bucket: Bucket, tmp_path: Path) -> None:
    place = tmp_path / "place"
    place.mkdir()
    digest = bucket.put(file("a"))
    bucket.content[f"inputs/sha256/{digest}"] += b"x"
    with pytest.raises(RunError, match="are not what it was given"):
        fetch_files(account, [digest], place)
    with pytest.raises(RunError, match="no longer in the bucket"):
        fetch_files(account, ["b" * 64], place)
    with pytest.raises(RunError, match="too many"):
        fetch_files(account, [bucket.put(file("zeros", bytes(MOST_BYTES + 1)))], place)
    broken = b"no archive"
    bucket.content[f"inputs/sha256/{hashlib.sha256(broken).hexdigest()}"] = broken
    with pytest.raises(RunError, match="cannot be unpacked"):
        fetch_files(account, [hashlib.sha256(broken).hexdigest()], place)


def test_all_files_are_sent_again_from_where_they_were(tmp_path: Path) -> None:
    """Also those that --in had named, which git ignores, and those of a project that was one by its .git."""
    for place in ("tools/run.py", "lib/part.py", ".hidden", "data.csv"):
        (tmp_path / place).parent.mkdir(exist_ok=True)
        (tmp_path / place).write_text("1")
    (tmp_path / ".gitignore").write_text("*.csv")
    found = repeat_of(argv=["python", "../lib/part.py"], cwd="tools")
    _, planned = plan(tmp_path / "tools", again_spec(found, wish_again(found)), Whole(tmp_path, found.environment))
    sent = {each.place for each in planned.bundle.files}
    assert sent == {"tools/run.py", "lib/part.py", ".hidden", "data.csv", ".gitignore"}
    assert planned.bundle.cwd == "tools"
    assert planned.program == Program("script", "../lib/part.py")
    assert planned.environment == found.environment


def test_each_option_is_kept_or_said_to_be_lost() -> None:
    """An option that comes later has to be thought of."""
    kept = {"max_time", "idle", "sync_every", "keep", "python", "spot", "checkpoint", "retries", "retry_on", "servers"}
    in_the_form = {"module", "command", "args", "type", "out", "name", "env"}
    as_a_type_or_a_time = {"cpu", "memory", "arch", "gpu", "max_cost"}
    refused = {"interactive", "in_"}
    of_the_client = {"trust_project", "on", "reuse", "fresh", "plain_image"}
    parts = (kept, in_the_form, as_a_type_or_a_time, refused, of_the_client, set(NOT_RECORDED))
    assert sorted(name for part in parts for name in part) == sorted(OPTIONS)
    assert "--subnet" in spell_not_recorded()
