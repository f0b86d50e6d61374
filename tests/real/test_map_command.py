"""`skylift map` whole: inputs of several kinds, results at home, one input that fails, and what can be had later."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from support.real_cloud import RealCloud

pytestmark = pytest.mark.real

# Sums the second column of its input, and leaves the sum as a file; says who it is.
PROGRAM = """
import csv, json, os, sys
number, path = sys.argv[1:]
assert number == "2"
print(os.environ["SKYLIFT_INDEX"], "of", os.environ["SKYLIFT_COUNT"], os.path.basename(path))
with open(path, newline="") as file:
    rows = list(csv.DictReader(file))
if os.path.basename(path) == "bad.csv":
    raise ValueError(f"{len(rows)} rows of no use")
json.dump(sum(int(row["value"]) for row in rows), open("sum.json", "w"))
"""


def test_a_folder_of_csv_is_summed_by_file_and_one_file_fails(cloud: RealCloud, tmp_path: Path) -> None:
    (tmp_path / "sum.py").write_text(PROGRAM)
    (tmp_path / "data").mkdir()
    for name, values in {"a": range(10), "b": range(10, 400), "bad": range(3)}.items():
        rows = "".join(f'"row\n{value}",{value}\n' for value in values)
        (tmp_path / "data" / f"{name}.csv").write_text(f"name,value\n{rows}")
    # One is an object of S3, whose parts the server fetches.
    (tmp_path / "data/b.csv").rename(tmp_path / "c.csv")
    s3 = cloud.client("s3")
    s3.create_bucket(Bucket="sums-of-a-user")
    s3.upload_file(str(tmp_path / "c.csv"), "sums-of-a-user", "in/b.csv")
    words = ["map", "--name", "sums", "--out", "sum.json", "--into", "sums/{stem}", "--split", "0.003MiB", "--json"]
    named = ["data/a.csv", "s3://sums-of-a-user/in/*", "data/bad.csv"]
    done = cloud.skylift(*words, "sum.py", *named, "--", "2", cwd=tmp_path, check=False)
    assert done.returncode == 1, done.stderr
    told = json.loads(done.stdout)
    assert (told["name"], told["exit_code"], told["state"]) == ("sums", 1, "failed")
    states = {each["input"] + str(each["index"]): each["state"] for each in told["inputs"]}
    assert states.pop("data/bad.csv3") == "failed"
    assert set(states.values()) == {"succeeded"}
    assert told["inputs"][-1]["last_line"] == "ValueError: 3 rows of no use"
    # Each part repeated the header, and no row was lost between two of them.
    found = sorted(tmp_path.glob("sums/*/sum.json"))
    assert [each.parent.name for each in found] == ["a", "b-0000", "b-0001"]
    assert sum(int(each.read_text()) for each in found) == sum(range(400))

    # Later, from elsewhere: the table, and results by index.
    later = cloud.skylift("map-results", "sums", str(tmp_path / "later"), cwd=tmp_path)
    assert "bad.csv" in later.stdout
    assert "3 of 4 inputs succeeded, 1 failed." in later.stderr
    assert "1 x ValueError: 3 rows of no use (first: input 3)" in later.stderr
    assert "Results of 3 inputs: later/out/\n" in later.stderr
    assert json.loads((tmp_path / "later/out/0/sum.json").read_text()) == sum(range(10))
    logs = cloud.skylift("logs", "sums", "--input", "data/a.csv", cwd=tmp_path)
    assert logs.stdout == "0 of 4 a.csv\n"
    assert "of no use" in cloud.skylift("logs", "sums", "--input", "3", cwd=tmp_path).stderr

    # A name that is taken is said before anything is started.
    again = cloud.skylift("map", "--name", "sums", "sum.py", "data/a.csv", cwd=tmp_path, check=False)
    assert (again.returncode, "There is a job called sums already." in again.stderr) == (2, True)
    assert cloud.skylift("rm", "sums").stdout.startswith("sums: ")


# Sends its input to standard output, in capitals; some inputs are objects of S3.
SHOUT = """
import subprocess, sys
word = sys.argv[1]
if word.startswith("s3://"):
    word = subprocess.check_output(["aws", "s3", "cp", "--only-show-errors", word, "-"], text=True)
print(word.upper())
if word == "bad":
    print("x" * 5000)
    sys.exit(word)
"""


def test_a_map_that_is_left_is_come_back_to(cloud: RealCloud, tmp_path: Path) -> None:
    """Inputs are objects of S3, which its role may read, and lines that are values."""
    (tmp_path / "shout.py").write_text(SHOUT)
    s3 = cloud.client("s3")
    s3.create_bucket(Bucket="words-of-a-user")
    for name, word in {"a": b"hello", "b": b"bad"}.items():
        s3.put_object(Bucket="words-of-a-user", Key=f"in/{name}.txt", Body=word)
    words = ["map", "-d", "--name", "shouts", "--retries", "1", "--range", "7..8"]
    assert cloud.skylift(*words, "shout.py", "s3://words-of-a-user/in/*", cwd=tmp_path).stdout == "shouts\n"
    seen = cloud.skylift("attach", "shouts", cwd=tmp_path, check=False)
    assert seen.returncode == 1, seen.stderr
    lines = [line.split() for line in seen.stdout.splitlines()]
    assert [line[:4] for line in lines[1:]] == [
        ["0", "a.txt", "succeeded", "0"],
        ["1", "b.txt", "failed", "1"],
        ["2", "7", "succeeded", "0"],
        ["3", "8", "succeeded", "0"],
    ]
    assert "3 of 4 inputs succeeded, 1 failed." in seen.stderr
    assert "1 x bad (first: input 1)" in seen.stderr
    assert cloud.skylift("logs", "shouts", "--input", "a.txt").stdout == "HELLO\n"
    assert cloud.skylift("logs", "shouts", "--input", "b.txt").stdout == f"BAD\n{'x' * 5000}\n"
    assert json.loads(cloud.skylift("map-results", "shouts", "--json").stdout)["inputs"][1]["attempt"] == 2


# Succeeds with all inputs but 2, which fails only when somebody has looked.
MENDED = """
import os, sys, time
number = int(sys.argv[1])
while number == 2 and not os.path.exists("/var/tmp/somebody-has-looked"):
    time.sleep(0.1)
assert number != 2, "two"
print(os.environ["SKYLIFT_INDEX"], "of", os.environ["SKYLIFT_COUNT"])
open("square.txt", "w").write(str(number ** 2))
"""


def test_a_map_goes_on_where_another_one_has_ended(cloud: RealCloud, tmp_path: Path) -> None:
    """It has no outcome for some inputs, and failed for one, whose program is mended then."""
    (tmp_path / "square.py").write_text(MENDED)
    words = ["map", "-d", "--name", "early", "--halt", "1", "--per-server", "1", "--batch", "1", "--out", "*.txt"]
    cloud.skylift(*words, "--range", "1..5", "square.py", cwd=tmp_path)
    soon = cloud.skylift("map", "--resume", "early", cwd=tmp_path, check=False)
    assert (soon.returncode, "The map early has not ended yet" in soon.stderr) == (2, True)
    cloud.skylift("ssh", "early", "touch /var/tmp/somebody-has-looked")
    waited = cloud.skylift("wait", "early", check=False)
    assert (waited.returncode, "It was ended early: 1 of 5 inputs have failed" in waited.stdout) == (1, True)
    (tmp_path / "square.py").write_text(MENDED.replace("number == 2", "False").replace("assert", "assert True or"))
    other = cloud.skylift("map", "--resume", "early", cwd=tmp_path, check=False)
    assert (other.returncode, "square.py is another one than early ran." in other.stderr) == (2, True)

    both = ["map", "--resume", "early", "--retry-failed", "early", "--force", "--name", "late", "--json"]
    done = cloud.skylift(*both, cwd=tmp_path)
    told = json.loads(done.stdout)
    servers = [each.pop("server") for each in told["inputs"]]
    assert [(each["index"], each["state"], each["folder"]) for each in told["inputs"]] == [
        (index, "succeeded", str(tmp_path / f"out/{index}")) for index in range(5)
    ]
    assert len(set(servers)) == 2, "what had succeeded did not run again"
    assert servers[0] != servers[1]
    assert set(servers[1:]) == {told["instance"]}
    assert [int((tmp_path / f"out/{index}/square.txt").read_text()) for index in range(5)] == [1, 4, 9, 16, 25]
    assert cloud.skylift("logs", "late", "--input", "4").stdout == "4 of 5\n"
    later = cloud.skylift("map-results", "late", str(tmp_path / "later"))
    assert "5 of 5 inputs succeeded." in later.stderr
    assert (tmp_path / "later/out/0/square.txt").read_text() == "1"
    # There is nothing left, and only one map goes on where another one has ended.
    for name, why in {"late": "all 5 inputs have succeeded", "early": "late goes on where early has ended"}.items():
        again = cloud.skylift("map", "--resume", name, cwd=tmp_path, check=False)
        assert (again.returncode, why in again.stderr) == (2, True)


# Its input in capitals; then it tries what a run of a schedule may not.
DAYS = """
import os, subprocess, sys
word = sys.argv[1]
def aws(*words):
    return subprocess.run(["aws", "s3", *words], capture_output=True, text=True)
if word.startswith("s3://"):
    found = aws("cp", "--only-show-errors", word, "-")
    assert found.returncode == 0, found.stderr
    tried = aws("cp", "--only-show-errors", "days.py", f"s3://{os.environ['BUCKET']}/schedules/days/in/map.json")
    assert "AccessDenied" in tried.stderr, tried
    word = found.stdout
else:
    tried = aws("ls", "s3://days-of-a-user/")
    assert "AccessDenied" in tried.stderr, tried
    word = open(word).read()
open("word.txt", "w").write(word.upper())
"""


def test_a_scheduled_map_looks_its_objects_up_when_it_runs(cloud: RealCloud, tmp_path: Path) -> None:
    """Local files are those of the day on which the schedule was made. Its runs have the rights of their one role."""
    s3, number = cloud.client("s3"), cloud.client("sts").get_caller_identity()["Account"]
    (tmp_path / "days.py").write_text(DAYS)
    (tmp_path / "local.txt").write_text("first")
    s3.create_bucket(Bucket="days-of-a-user")
    s3.put_object(Bucket="days-of-a-user", Key="in/monday.txt", Body=b"monday")
    bucket = f"BUCKET=skylift-{number}-{cloud.endpoint.region}"
    what = ["map", "--out", "word.txt", "--env", bucket, "days.py", "local.txt", "s3://days-of-a-user/in/*"]
    made = cloud.skylift("schedule", "cron(0 2 1 1 ? *)", "--name", "days", "--", *what, cwd=tmp_path)
    assert "names 1 object now" in made.stderr
    (tmp_path / "local.txt").write_text("changed")
    s3.delete_object(Bucket="days-of-a-user", Key="in/monday.txt")
    s3.put_object(Bucket="days-of-a-user", Key="in/tuesday one.txt", Body=b"tuesday")
    run = cloud.skylift("schedule", "run", "days").stdout.strip()
    done = cloud.skylift("wait", run, check=False)
    assert done.returncode == 0, cloud.skylift("map-results", run, "--json", cwd=tmp_path).stdout
    history = cloud.skylift("schedule", "history", "days")
    assert f"skylift map-results {run}" in history.stderr
    cloud.skylift("schedule", "rm", "days")
    # A run stays when its schedule is gone.
    cloud.skylift("map-results", run, "--into", "words/{name}", cwd=tmp_path)
    words = {each.parent.name: each.read_text() for each in tmp_path.glob("words/*/word.txt")}
    assert words == {"local.txt": "FIRST", "tuesday one.txt": "TUESDAY"}
    assert cloud.skylift("rm", run).stdout.startswith(f"{run}: removed")
