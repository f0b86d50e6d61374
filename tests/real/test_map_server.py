"""A map on one server: each input a process of its own, one outcome each, and nothing left."""

from __future__ import annotations

import hashlib
import time
from pathlib import Path

import pytest
from mapped import Mapped
from support.real_cloud import RealCloud

from skylift.agent.workers.map_server import DASK_USER
from skylift.client.map.outcome import INLINE, InputOutcome, InputState, MapEnd
from skylift.contract.document import parse
from skylift.contract.map_progress import PROGRESS_LIMIT, GroupedError, Progress
from skylift.contract.map_spec import Blob, MapInput, MapSpec

pytestmark = pytest.mark.real

# Squares its input. Says where it is, and leaves a file; some inputs are of another kind.
PROGRAM = """
import os, subprocess, sys
import helper
word = sys.argv[-1]
print(os.environ["SKYLIFT_INDEX"], os.environ["SKYLIFT_COUNT"], os.environ["SKYLIFT_ATTEMPT"], os.getuid())
if word == "bad":
    raise ValueError("of no use")
if word == "again" and os.environ["SKYLIFT_ATTEMPT"] == "1":
    sys.exit(75)
if word == "daemon":
    # Leaves its session and its parent: whoever looks for it by either does not find it.
    subprocess.Popen(["sh", "-c", "setsid sleep 4242 & exit"], start_new_session=True)
if word == "loud":
    print("x" * 100_000)
if os.path.exists(word):
    word = str(len(open(word).read()))
assert os.listdir(".") == os.listdir(os.path.dirname(os.path.abspath(__file__)))
open("square.txt", "w").write(str(helper.square(word)))
"""


def test_each_input_has_one_outcome(cloud: RealCloud, tmp_path: Path) -> None:
    (tmp_path / "job.py").write_text(PROGRAM)
    (tmp_path / "helper.py").write_text("def square(word):\n    return int(word) ** 2 if word.isdigit() else word\n")
    (tmp_path / "five").write_text("12345")
    digest = hashlib.sha256(b"12345").hexdigest()
    words = [*map(str, range(20)), "bad", "again", "daemon", "loud"]
    inputs = [MapInput(number, word, word) for number, word in enumerate(words)]
    inputs.append(MapInput(24, "five", "five", Blob(digest, 5, "five")))
    spec = MapSpec(("python", "job.py"), True, ("-v", "{}"), tuple(inputs), outputs=("*.txt",), retries=1)
    mapped = Mapped(cloud, tmp_path, "squares", spec, {digest: str(tmp_path / "five")})
    assert cloud.skylift("wait", "squares", check=False).returncode == 1
    log = mapped.log()
    assert log.ended == MapEnd("1 of 25 inputs have failed.")
    outcomes = log.outcomes
    assert sorted(outcomes) == list(range(25))
    failed = [each for each in outcomes.values() if not each.succeeded]
    assert [(each.index, each.exit_code, each.attempt, each.state) for each in failed] == [
        (20, 1, 2, InputState.FAILED)
    ]
    assert (outcomes[20].stderr.content or b"").endswith(b"ValueError: of no use\n")
    assert outcomes[21].attempt == 2, "it was started again"
    squares = [results(mapped, outcomes[index])["square.txt"] for index in range(25) if index != 20]
    assert squares == [*(str(each**2).encode() for each in range(20)), b"again", b"daemon", b"loud", b"25"]
    assert outcomes[23].stdout.size > INLINE
    assert mapped.read(mapped.keys.run(23, str(outcomes[23].run)) + "stdout").endswith(b"x" * 100_000 + b"\n")
    index, count, attempt, uid = (outcomes[3].stdout.content or b"").split()
    assert (index, count, attempt) == (b"3", b"25", b"1")
    assert uid not in (b"0", str(DASK_USER).encode()), "the program's user is neither root nor Dask's"
    progress = parse(Progress, mapped.read(mapped.keys.progress), PROGRESS_LIMIT)
    assert (progress.succeeded, progress.failed, progress.waiting) == (24, 1, 0)
    assert progress.errors == (GroupedError("ValueError: of no use", 1, 20),)


def results(mapped: Mapped, outcome: InputOutcome) -> dict[str, bytes]:
    found = {}
    for each in outcome.results:
        found[each.path] = mapped.read(mapped.keys.run(outcome.index, str(outcome.run)) + f"results/{each.path}")
        assert hashlib.sha256(found[each.path]).hexdigest() == each.sha256
    return found


# The first time, the sixth input kills the coordinator, and waits for its own end; another one does each time. Programs
# may not ask for runs. One needs more memory than there is.
KILLS = """
import os, socket, subprocess, sys, time
number = int(sys.argv[-1])

def end_coordinator():
    subprocess.run(["sudo", "pkill", "-9", "-u", "61904"], check=True)
    time.sleep(600)

if number == 5 and not os.path.exists("/tmp/killed"):
    try:
        socket.socket(socket.AF_UNIX).connect("/var/lib/skylift/killed/map/dask/inputs.sock")
        sys.exit("any program can ask for runs")
    except PermissionError:
        pass
    open("/tmp/killed", "w").close()
    end_coordinator()
if number == 12:
    end_coordinator()
while number == 8:
    eaten = [*globals().get("eaten", ()), bytearray(b"x") * (1 << 24)]
print(number)
"""


def test_a_coordinator_that_is_killed_has_a_successor_and_what_kills_each_one_fails_by_name(
    cloud: RealCloud, tmp_path: Path
) -> None:
    (tmp_path / "job.py").write_text(KILLS)
    inputs = tuple(MapInput(number, str(number), str(number)) for number in range(20))
    mapped = Mapped(cloud, tmp_path, "killed", MapSpec(("python", "job.py"), True, (), inputs, batch=1), {})
    assert cloud.skylift("wait", "killed", check=False).returncode == 1
    log = mapped.log()
    # Both may have run when it was killed, or one of them. A kill counts once the log says that its input was begun,
    # for which a first attempt does not wait.
    assert log.epoch >= 4
    assert sorted(log.outcomes) == list(range(20))
    assert sum(int(each.stdout.content or b"0") for each in log.outcomes.values()) == sum(range(20)) - 12 - 8
    assert (log.outcomes[8].state, log.outcomes[8].exit_code) == (InputState.OUT_OF_MEMORY, 121)
    assert (log.outcomes[12].state, log.outcomes[12].losses) == (InputState.LOST, 3)
    assert log.ended == MapEnd("2 of 20 inputs have failed.")
    cloud.client("ec2").get_waiter("instance_terminated").wait(
        InstanceIds=[mapped.instance], WaiterConfig={"Delay": 1, "MaxAttempts": 60}
    )


# Says where it is, and takes a while; a shutdown ends it as it ends any program.
SLOW = """
import os, sys, time
number, first = int(sys.argv[-1]), "/tmp/first-server"
if number < 4:
    open(first, "w").close()
while number >= 4 and os.path.exists(first):
    time.sleep(0.1)
print(number)
"""
"""On the first server only the first four have an end, however long it takes to take that server away."""


def test_a_server_that_is_taken_away_loses_nothing_and_gives_no_verdict(cloud: RealCloud, tmp_path: Path) -> None:
    (tmp_path / "job.py").write_text(SLOW)
    inputs = tuple(MapInput(number, str(number), str(number)) for number in range(40))
    spec = MapSpec(("python", "job.py"), True, (), inputs, batch=1)
    mapped = Mapped(cloud, tmp_path, "taken", spec, {}, spot=True)
    until = time.monotonic() + 300
    while len(mapped.log().outcomes) < 4:
        assert time.monotonic() < until
        time.sleep(0.1)
    cloud.skylift("cloud", "interrupt", mapped.instance, "--in", "2s")
    assert cloud.skylift("wait", "taken", check=False).returncode == 0
    log = mapped.log()
    assert log.epoch == 2
    assert [(each.exit_code, each.stdout.content) for _, each in sorted(log.outcomes.items())] == [
        (0, b"%d\n" % number) for number in range(40)
    ]
    assert len({each.server for each in log.outcomes.values()}) == 2
