"""Folders in folders by the thousand, and whatever else a disk can have: as results, by `skylift cp`, as a checkpoint,
and left on a server that is kept."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from support.real_cloud import RealCloud
from support.real_server import until
from support.running_job import RunningJob, jobs

pytestmark = pytest.mark.real

MAKES = """
import os, signal, sys, time

top = os.getcwd()

def into(folder, names):
    os.makedirs(folder, exist_ok=True)
    os.chdir(folder)
    for name in names:
        os.mkdir(name)
        os.chdir(name)
    with open("end", "w") as file:
        file.write("found")
    os.chdir(top)

def long_names(folder, length):
    # Names of 255 bytes, so that the file `end` has a path of about that length.
    left = length - len(os.path.join(top, folder)) - len("/end")
    into(folder, ["n" * 255] * (left // 256) + ["m" * (left % 256 - 1)])

def odd(folder, giant):
    os.symlink("self", folder + "/self")
    os.symlink("there", folder + "/back")
    os.symlink("back", folder + "/there")
    with open(folder + "/giant", "wb") as file:
        file.seek(giant - 1)
        file.write(b"x")
"""

LEAVES = (
    MAKES
    + """
os.mkdir("out")
with open("out/plain.txt", "w") as file:
    file.write("42")
into("out/deep", ["d"] * 6_000)
into("out/wide", ["n" * 255] * 17)
into("out/bytes", [b"\\xff" * 255] * 2)
long_names("out/long", 4_090)
odd("out", 64 << 20)
odd(".", 1 << 40)
os.symlink("/etc", "out/etc")
os.symlink("..", "out/up")
for place in ("out/fifo", "fifo"):
    os.mkfifo(place)
into("deep", ["d"] * 6_000)
print("ready", flush=True)
while "wait" in sys.argv and not os.path.exists("go"):
    time.sleep(0.02)
"""
)

GOES_ON = (
    MAKES
    + """
signal.signal(signal.SIGTERM, lambda *_: sys.exit(75))
if os.environ["SKYLIFT_ATTEMPT"] == "1":
    os.mkdir("part")
    long_names("part/long", 3_990)
    odd("part", 1 << 40)
    with open("part/model", "w") as file:
        file.write("good")
    os.rename("part", "state")
    print("ready", flush=True)
    while not os.path.exists("go"):
        time.sleep(0.02)
    into("state/deep", ["d"] * 6_000)
    print("deep", flush=True)
    while True:
        signal.pause()
print(*sorted(os.listdir("state")), open("state/model").read())
print(os.path.getsize("state/giant"), os.readlink("state/self"))
os.chdir("state/long")
while not os.path.exists("end"):
    os.chdir(os.listdir()[0])
print(open("end").read(), flush=True)
"""
)


@pytest.fixture
def folder(cloud: RealCloud, request: pytest.FixtureRequest) -> Path:
    found = cloud.work / request.node.name
    found.mkdir()
    return found


def ends_below(place: Path) -> list[str]:
    """What the files called `end` have in them, however deep they are."""
    found = ["find", ".", "-name", "end", "-execdir", "cat", "{}", ";", "-printf", "\\n"]
    return subprocess.run(found, cwd=place, capture_output=True, text=True, check=True).stdout.split()


def test_results_that_a_path_can_name_come_home_and_the_others_are_told(cloud: RealCloud, folder: Path) -> None:
    (folder / "job.py").write_text(LEAVES)
    done = cloud.skylift("run", "--name", "deep", "--keep", "5m", "--out", "out", "job.py", cwd=folder)
    assert done.stdout == "ready\n"
    words = done.stderr
    assert "File name too long" in words
    assert "out/deep/d/d/d" in words and "out/wide/nnn" in words
    out = folder / "out"
    assert (out / "plain.txt").read_text() == "42"
    assert ends_below(out / "long") == ends_below(out / "bytes") == ["found"]
    assert (out / "giant").stat().st_size == 64 << 20
    assert sorted(each.name for each in out.iterdir()) == ["bytes", "giant", "long", "plain.txt"]
    (first,) = [each["instance"] for each in jobs(cloud, "--all") if each["name"] == "deep"]
    # What it has left on the server is in nobody's way.
    (folder / "next.py").write_text("import os; print(*sorted(os.listdir()))")
    done = cloud.skylift("run", "--name", "next", "--keep", "5m", "next.py", cwd=folder)
    assert done.stdout == "next.py\n"
    (second,) = [each["instance"] for each in jobs(cloud, "--all") if each["name"] == "next"]
    assert second == first, done.stderr
    cloud.skylift("cancel", "next")
    assert "File name too long" in cloud.skylift("results", "deep", "again", cwd=folder).stderr
    assert ends_below(folder / "again/out/long") == ["found"]
    subprocess.run(["rm", "-rf", folder], check=True)


def test_copies_of_such_a_folder_end_in_words(cloud: RealCloud, folder: Path) -> None:
    source = LEAVES.replace('"wait" in sys.argv and ', "")
    job = RunningJob(cloud, folder, "--name", "copied-deep", source=source)

    def cp(*words: str, code: int = 0) -> str:
        done = cloud.skylift("cp", *words, cwd=folder, check=False)
        assert "Traceback" not in done.stderr
        assert done.returncode == code, done.stderr
        return done.stderr

    assert "more than 200 folders in each other" in cp("-r", "copied-deep:out", "all", code=125)
    # OpenSSH's server leaves out of a list what it has no path for.
    assert "is so deep that its server may not list all" in cp("-r", "copied-deep:out/wide", "wide")
    cp("-r", "copied-deep:out/long", "long")
    assert ends_below(folder / "long") == ["found"]
    assert "is not a regular file" in cp("copied-deep:fifo", ".", code=2)
    assert "There is no self" in cp("copied-deep:self", ".", code=2)
    small = folder / "small"
    small.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "none", small], check=True)
    try:
        assert "No space left on device" in cp("copied-deep:giant", "small", code=125)
        assert list(small.iterdir()) == []
    finally:
        subprocess.run(["umount", small], check=True)
    mine = folder / "mine"
    (mine / "in").mkdir(parents=True)
    (mine / "in/file").write_text("1")
    (mine / "in/self").symlink_to("self")
    (mine / "in/up").symlink_to("..")
    assert "is a link to nowhere" in cp("-r", "mine", "copied-deep:")
    assert cloud.skylift("ssh", "copied-deep", "ls job/mine/in").stdout == "file\n"
    job.go()
    assert job.finish() == (0, b"")
    subprocess.run(["rm", "-rf", folder], check=True)


def test_a_checkpoint_that_is_too_deep_is_told_and_the_one_before_is_gone_on_from(
    cloud: RealCloud, folder: Path
) -> None:
    (folder / "job.py").write_text(GOES_ON)
    with (folder / "out").open("wb") as out, (folder / "err").open("wb") as err:
        wanted = ("--spot", "--checkpoint", "state", "--name", "too-deep")
        client = cloud.popen("run", *wanted, "job.py", cwd=folder, stdout=out, stderr=err)
        until(lambda: b"ready" in (folder / "out").read_bytes(), "the program to begin")
        until(lambda: checkpoints(cloud, "too-deep") == 1, "its checkpoint in S3")
        cloud.skylift("ssh", "too-deep", "touch job/go")
        until(lambda: b"is refused" in (folder / "err").read_bytes(), "a word on the new one")
        (first,) = [each["instance"] for each in jobs(cloud) if each["name"] == "too-deep"]
        cloud.skylift("cloud", "interrupt", first)
        code = client.wait()
    words = " ".join((folder / "err").read_text().split())
    assert code == 0, words
    assert "the previous one stays: deep/d/d/d" in words
    assert "is at a path of more than 4000 bytes" in words
    assert "goes on from attempt 1's checkpoint" in words
    shown = (folder / "out").read_text().splitlines()
    assert shown == ["ready", "deep", "back giant long model self there good", f"{1 << 40} self", "found"]
    cloud.skylift("rm", "too-deep")


def checkpoints(cloud: RealCloud, name: str) -> int:
    """How many of a job's checkpoints are whole in S3."""
    s3 = cloud.client("s3")
    (bucket,) = [each["Name"] for each in s3.list_buckets()["Buckets"] if each["Name"].startswith("skylift-")]
    listed = s3.list_objects_v2(Bucket=bucket, Prefix="jobs/").get("Contents", [])
    return len([each for each in listed if f"/{name}/server/checkpoint/" in each["Key"]])
