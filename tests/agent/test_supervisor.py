"""The supervisor as a process: what a job's prefix, its streams and its exit look like, whatever the program does."""

from __future__ import annotations

import hashlib
import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest
from support.agent_bench import PATIENCE, Machine, Metadata, cmdline, until
from support.shipped_job import WAIT_FOR_GO, Shipped
from support.waiting_job import go

from skylift.client.job.job import Program
from skylift.client.plan.plan_job import Order


def test_a_look_at_what_there_is_and_at_what_came_since(shipped: Shipped, machine: Machine) -> None:
    shipped.ship(
        "import os, time\nprint('old', flush=True)\n"
        "while not os.path.exists('more'): time.sleep(0.02)\n"
        "time.sleep(1.2)\nprint('new', time.time(), flush=True)\n"
        "while not os.path.exists('go'): time.sleep(0.02)\n"
    )
    shipped.boot()
    watching = shipped.door()
    watching.send(stream={"stdout": 0, "stderr": 0})
    frames, shown = watching.frames(), b""
    for lines in (1, 2):
        while shown.count(b"\n") < lines:
            kind, data = next(frames)
            shown += data if kind == "o" else b""
        # What is old has been noted by now: the supervisor reads the clock as it takes it.
        (machine.home / "job/more").touch()
    looking = shipped.door()
    looking.send(stream={"stdout": 2, "stderr": 0}, once=True)
    assert b"".join(data for kind, data in looking.frames() if kind == "o") == shown[2:]
    since = shipped.door()
    since.send(stream={"stdout": 0, "stderr": 0}, once=True, since=float(shown.split()[-1]))
    assert list(since.frames()) == [("b", b'{"stdout": 4, "stderr": 0}'), ("o", shown[4:])]
    go(machine)
    for door in (watching, looking, since):
        door.close()
    machine.wait()


def test_streams_come_apart_byte_for_byte(shipped: Shipped) -> None:
    status = shipped.run(
        "import os\nos.write(1, bytes(range(256)))\nos.write(2, b'to stderr, no newline')\nprint('done', flush=True)\n"
    )
    assert shipped.stream("stdout") == bytes(range(256)) + b"done\n"
    assert shipped.stream("stderr") == b"to stderr, no newline"
    assert status["state"] == "succeeded"
    assert status["streams"] == {"stdout": 261, "stderr": 21}


@pytest.mark.parametrize("code", [0, 1, 2, 77, 124, 255])
def test_exit_code_is_the_programs(shipped: Shipped, code: int) -> None:
    status = shipped.run(f"raise SystemExit({code})")
    assert (status["exit_code"], status["final"]) == (code, True)
    assert status["state"] == ("failed" if code else "succeeded")
    assert "signal" not in status


@pytest.mark.parametrize("name", ["SIGKILL", "SIGSEGV", "SIGTERM"])
def test_a_signal_is_128_and_its_number(shipped: Shipped, name: str) -> None:
    status = shipped.run(f"import os, signal; os.kill(os.getpid(), signal.{name})")
    assert (status["exit_code"], status["signal"]) == (128 + signal.Signals[name], name)


def test_arguments_reach_the_program_as_they_are(shipped: Shipped) -> None:
    arguments = ["--out", "two words", "", "$HOME", "'quoted\"", "*", "ünï"]
    shipped.run("import json, sys; print(json.dumps(sys.argv))", *arguments)
    assert json.loads(shipped.stream("stdout")) == ["job.py", *arguments]


def test_program_is_the_login_users_in_its_own_folder(shipped: Shipped, machine: Machine) -> None:
    shipped.run(
        "import os, json; print(json.dumps([os.getuid(), os.getcwd(), os.environ['USER'], os.getsid(0)==os.getpid()]))"
    )
    uid, cwd, user, leads = json.loads(shipped.stream("stdout"))
    assert Path(cwd) == machine.home / "job"
    assert leads
    if os.geteuid() == 0:
        assert uid != 0
        assert user == "nobody"


def test_program_cannot_touch_what_is_the_supervisors(shipped: Shipped, machine: Machine) -> None:
    if os.geteuid() != 0:
        pytest.fail("this test needs root, as the supervisor has it on a server")
    shipped.run(
        "import os\n"
        f"folder = {str(machine.root)!r} + '/var/lib/skylift/' + os.environ['SKYLIFT_JOB']\n"
        "for name in ('stdout/' + '0' * 20, 'stdout/new', 'new'):\n"
        "    try:\n"
        "        open(folder + '/' + name, 'w')\n"
        "        print('wrote', name)\n"
        "    except PermissionError:\n"
        "        print('refused')\n"
    )
    assert shipped.stream("stdout") == b"refused\n" * 3


def test_reopening_its_own_streams_loses_nothing(shipped: Shipped) -> None:
    shipped.run(
        "print('first', flush=True)\n"
        "with open('/dev/stdout', 'w') as again:\n"
        "    again.write('second\\n')\n"
        "print('third')\n"
    )
    assert shipped.stream("stdout") == b"first\nsecond\nthird\n"


def test_output_of_more_than_a_piece_is_whole(shipped: Shipped) -> None:
    shipped.run("import sys\nfor n in range(600_000): sys.stdout.write(f'{n:020d}\\n')\n")
    expected = b"".join(b"%020d\n" % number for number in range(600_000))
    assert hashlib.sha256(shipped.stream("stdout")).digest() == hashlib.sha256(expected).digest()


def test_what_the_program_left_running_ends_with_it(shipped: Shipped, machine: Machine) -> None:
    shipped.run("import subprocess; print(subprocess.Popen(['sleep', '600']).pid)")
    assert b"sleep" not in cmdline(int(shipped.stream("stdout")))


def test_timer_is_armed_first_and_the_server_turned_off_last(shipped: Shipped, machine: Machine) -> None:
    shipped.run("print(1)")
    first, last = machine.off_commands()
    assert first in {"shutdown -P +14", "shutdown -P +15"}
    assert last == "shutdown -P now"


def run_to_its_cap(shipped: Shipped, source: str, **order: Any) -> tuple[int, dict[str, Any]]:
    """The shortest cap at which the program came to say something, and the status."""
    for cap in (1, 5, 25):
        status = shipped.run(source, max_time=cap, **order)
        if shipped.stream("stdout"):
            return cap, status
    raise AssertionError("no program starts here within a cap")


def test_cap_ends_the_program_and_keeps_its_results(shipped: Shipped) -> None:
    cap, status = run_to_its_cap(
        shipped,
        "import time\nopen('half.txt', 'w').write('so far')\nprint('started', flush=True)\ntime.sleep(600)\n",
        outputs=["half.txt"],
    )
    assert (status["state"], status["exit_code"], status["signal"]) == ("timed-out", 124, "SIGTERM")
    assert f"{cap} s" in status["reason"]
    assert [each.path for each in shipped.manifest().results] == ["half.txt"]


def test_cap_also_ends_a_program_that_ignores_sigterm(shipped: Shipped) -> None:
    _, status = run_to_its_cap(
        shipped, "import signal, time\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\nprint('deaf')\ntime.sleep(600)\n"
    )
    assert (status["exit_code"], status["signal"]) == (124, "SIGKILL")


def test_results_keep_their_place_and_inputs_do_not_come_back(shipped: Shipped, tmp_path: Path) -> None:
    (shipped.folder / "data").mkdir()
    (shipped.folder / "data" / "in.csv").write_text("a,b\n")
    shipped.run(
        "import pathlib\n"
        "pathlib.Path('out/deep').mkdir(parents=True)\n"
        "pathlib.Path('out/deep/a.bin').write_bytes(bytes(range(256)) * 10)\n"
        "pathlib.Path('data/new.csv').write_text('c\\n')\n"
        "pathlib.Path('other.txt').write_text('nobody asked')\n",
        inputs=["data"],
        outputs=["out", "data/*.csv", "missing/*.txt"],
    )
    home = tmp_path / "home"
    assert shipped.bring_home(home) == ["data/new.csv", "out/deep/a.bin"]
    assert (home / "out/deep/a.bin").read_bytes() == bytes(range(256)) * 10
    assert shipped.manifest().unmatched == ("missing/*.txt",)
    assert shipped.manifest().left_behind == ("other.txt",)


def test_changed_input_is_a_result(shipped: Shipped, tmp_path: Path) -> None:
    (shipped.folder / "table.csv").write_text("a\n")
    shipped.run("open('table.csv', 'a').write('b\\n')", inputs=["table.csv"], outputs=["*.csv"])
    assert shipped.bring_home(tmp_path) == ["table.csv"]
    assert (tmp_path / "table.csv").read_text() == "a\nb\n"


def test_large_result_goes_in_parts(shipped: Shipped, tmp_path: Path) -> None:
    shipped.run(
        "import hashlib\n"
        "block = bytes(range(256)) * 4096\n"
        "with open('big.bin', 'wb') as file:\n"
        "    for n in range(40): file.write(block + bytes([n]))\n",
        outputs=["big.bin"],
    )
    shipped.bring_home(tmp_path)
    block = bytes(range(256)) * 4096
    assert (tmp_path / "big.bin").read_bytes() == b"".join(block + bytes([number]) for number in range(40))


def test_links_out_of_the_job_are_not_results(shipped: Shipped) -> None:
    shipped.run("import os; os.symlink('/etc/hostname', 'name.txt'); open('own.txt','w').write('x')", outputs=["*.txt"])
    assert [each.path for each in shipped.manifest().results] == ["own.txt"]


def test_env_values_reach_the_program_and_leave_the_prefix(shipped: Shipped, machine: Machine) -> None:
    shipped.ship("import os; print(os.environ['TOKEN'], os.environ['EMPTY'] == '')", env=["TOKEN=s3cr3t=x", "EMPTY="])
    assert b"s3cr3t" not in (shipped.read(shipped.prefix.record) or b"")
    shipped.boot()
    machine.wait()
    assert shipped.stream("stdout") == b"s3cr3t=x True\n"
    assert shipped.read(shipped.prefix.env) is None


def test_second_server_of_a_job_does_not_run_it(shipped: Shipped, machine: Machine, metadata: Metadata) -> None:
    shipped.ship("print('ran')")
    shipped.put(f"{shipped.prefix.base}/server/attempts/1.json", json.dumps({"instance": "i-other"}).encode())
    shipped.boot()
    machine.wait()
    assert shipped.status() == {}
    assert shipped.stream("stdout") == b""
    assert machine.off_commands()[-1] == "shutdown -P now"


@pytest.mark.parametrize("holder", ["i-other", ""])
def test_only_who_has_a_job_tells_of_its_failure(shipped: Shipped, machine: Machine, holder: str) -> None:
    """A server too many that fails before it knows that it is one must not end the other's job."""
    (shipped.folder / "job.py").touch()
    shipped.ship_order(Order(Program("script", "job.py", ())), version=2)
    if holder:
        shipped.put(f"{shipped.prefix.base}/server/attempts/1.json", json.dumps({"instance": holder}).encode())
    shipped.boot()
    until(lambda: machine.off_commands()[1:], "the server's end")
    assert shipped.status().get("state") == (None if holder else "broken")


def test_claim_whose_answer_was_lost_is_known_by_its_name(
    shipped: Shipped, machine: Machine, metadata: Metadata
) -> None:
    shipped.ship("print('ran')")
    body = json.dumps({"instance": metadata.instance}).encode()
    shipped.put(f"{shipped.prefix.base}/server/attempts/1.json", body)
    shipped.boot()
    machine.wait()
    assert shipped.stream("stdout") == b"ran\n"


def test_host_keys_are_shown_before_the_record_is_read(shipped: Shipped, machine: Machine) -> None:
    machine.show_host_key("ssh-ed25519 AAAA root@server")
    shipped.run("pass")
    found = json.loads(shipped.read(shipped.prefix.host_keys) or b"")
    assert found["keys"] == ["ssh-ed25519 AAAA root@server"]
    assert found["user"] == "nobody"


def test_damaged_bundle_is_not_run(shipped: Shipped, machine: Machine) -> None:
    shipped.ship("print('ran')")
    shipped.put(shipped.bundle, b"not what was sent")
    shipped.boot()
    machine.wait()
    status = shipped.status()
    assert (status["state"], status["exit_code"]) == ("broken", 125)
    assert shipped.stream("stdout") == b""


def test_record_of_another_version_is_refused_and_told(shipped: Shipped, machine: Machine) -> None:
    (shipped.folder / "job.py").write_text("print('ran')")
    shipped.ship_order(Order(Program("script", "job.py")), version=2)
    shipped.boot()
    assert machine.process is not None
    machine.process.wait(PATIENCE)
    status = shipped.status()
    assert (status["state"], status["exit_code"]) == ("broken", 125)
    assert "version 2" in status["reason"]
    assert machine.off_commands()[-1] == "shutdown -P now"


def test_command_is_looked_up_on_the_path(shipped: Shipped, machine: Machine) -> None:
    shipped.ship_order(Order(Program("command", "sh", ("-c", "echo $0 $1; exit 3", "a", "b"))))
    shipped.boot()
    machine.wait()
    assert shipped.stream("stdout") == b"a b\n"
    assert shipped.status()["exit_code"] == 3


def test_command_that_is_not_there_is_127(shipped: Shipped, machine: Machine) -> None:
    shipped.ship_order(Order(Program("command", "no-such-command")))
    shipped.boot()
    machine.wait()
    status = shipped.status()
    assert (status["state"], status["exit_code"]) == ("failed", 127)
    assert "no-such-command" in status["reason"]


def test_module_runs_from_the_working_directory(shipped: Shipped, machine: Machine) -> None:
    (shipped.folder / "tool").mkdir()
    (shipped.folder / "tool" / "__init__.py").touch()
    (shipped.folder / "tool" / "__main__.py").write_text("import sys; print('module', sys.argv[1:])")
    shipped.ship_order(Order(Program("module", "tool", ("-x",))))
    shipped.boot()
    machine.wait()
    assert shipped.stream("stdout") == b"module ['-x']\n"


def test_watching_resumes_at_an_offset_and_ends_with_the_final_status(shipped: Shipped, machine: Machine) -> None:
    shipped.ship(f"import sys\n{WAIT_FOR_GO}print('0123456789')\nprint('err', file=sys.stderr)\n")
    shipped.boot()
    door = shipped.door()
    door.send(stream={"stdout": 4, "stderr": 1})
    shipped.go()
    frames = list(door.frames())
    door.close()
    machine.wait()
    assert b"".join(data for kind, data in frames if kind == "o") == b"456789\n"
    assert b"".join(data for kind, data in frames if kind == "e") == b"rr\n"
    kind, last = frames[-1]
    assert kind == "s"
    assert json.loads(last)["final"]
    states = [json.loads(data)["state"] for kind, data in frames if kind == "s"]
    # One that is slow to look misses some.
    assert [each for each in ("booting", "unpacking", "running", "uploading", "succeeded") if each in states] == states


def test_output_is_seen_while_the_program_runs(shipped: Shipped, machine: Machine) -> None:
    shipped.ship("import os, signal\nos.write(1, b'ready\\n')\nsignal.pause()")
    shipped.boot()
    door = shipped.door()
    door.send(stream={"stdout": 0, "stderr": 0})
    seen = next(data for kind, data in door.frames() if kind == "o")
    assert seen == b"ready\n"
    door.send(signal="TERM")
    assert json.loads(list(door.frames())[-1][1])["exit_code"] == 128 + signal.SIGTERM
    door.close()
    machine.wait()


def test_ctrl_c_is_a_keyboard_interrupt(shipped: Shipped, machine: Machine) -> None:
    shipped.ship(
        "import os, time\n"
        "try:\n    os.write(1, b'ready\\n')\n    while True: time.sleep(0.1)\n"
        "except KeyboardInterrupt:\n    print('interrupted')\n    raise SystemExit(5)\n"
    )
    shipped.boot()
    door = shipped.door()
    door.send(stream={"stdout": 0, "stderr": 0})
    assert next(data for kind, data in door.frames() if kind == "o") == b"ready\n"
    door.send(signal="INT")
    rest = list(door.frames())
    door.close()
    machine.wait()
    assert b"".join(data for kind, data in rest if kind == "o") == b"interrupted\n"
    assert json.loads(rest[-1][1])["exit_code"] == 5


def test_cancel_through_the_prefix_needs_no_connection(shipped: Shipped, machine: Machine) -> None:
    shipped.ship(
        "open('kept.txt', 'w').write('x')\nprint('up', flush=True)\nimport signal; signal.pause()", outputs=["kept.txt"]
    )
    shipped.boot()
    until(lambda: shipped.stream("stdout") == b"up\n", "the program's first line in S3")
    shipped.put(shipped.prefix.cancel, b"")
    machine.wait()
    status = shipped.status()
    assert (status["state"], status["exit_code"], status["signal"]) == ("cancelled", 143, "SIGTERM")
    assert [each.path for each in shipped.manifest().results] == ["kept.txt"]


def test_slow_watcher_does_not_slow_the_program(shipped: Shipped, machine: Machine) -> None:
    shipped.ship("import sys\nfor _ in range(64): sys.stdout.write('x' * (1 << 20))\n")
    shipped.boot()
    door = shipped.door()
    door.send(stream={"stdout": 0, "stderr": 0})
    # Not a byte is read here before the program's end is in S3.
    until(lambda: shipped.status().get("exit_code") == 0, "the program's end")
    total = sum(len(data) for kind, data in door.frames() if kind == "o")
    door.close()
    machine.wait()
    assert total == 64 << 20


def test_kept_server_stays_until_it_is_cancelled(shipped: Shipped, machine: Machine) -> None:
    shipped.ship("print('done')", keep=600)
    shipped.boot()
    until(lambda: shipped.status().get("final"), "the final status")
    assert machine.process is not None
    assert machine.process.poll() is None
    armed, *again = until(lambda: machine.off_commands()[:2], "the timer")
    assert armed in {"shutdown -P +14", "shutdown -P +15"}
    # Ten minutes from now, and two to deliver what it has.
    assert set(again) <= {"shutdown -P +11", "shutdown -P +12"}
    shipped.put(shipped.prefix.cancel, b"")
    machine.wait()
    assert machine.off_commands()[-1] == "shutdown -P now"


def test_supervisor_that_is_not_what_was_sent_is_not_run(shipped: Shipped, machine: Machine) -> None:
    shipped.ship("print('ran')")
    shipped.put(shipped.prefix.supervisor, b"something else")
    shipped.boot()
    machine.wait()
    assert "is not what was sent" in machine.console()
    assert shipped.stream("stdout") == b""
    assert machine.off_commands()[-1] == "shutdown -P now"


def test_a_server_whose_disk_takes_no_supervisor_says_so_and_goes_off(shipped: Shipped, machine: Machine) -> None:
    shipped.ship("print('never')\n")
    (machine.root / "var/lib/skylift/supervisor.part").mkdir(parents=True)
    shipped.boot()
    machine.wait()
    assert machine.off_commands()[-1].startswith("shutdown -P now")
    status = shipped.status()
    assert (status["state"], status["final"], status["exit_code"]) == ("broken", True, 125)
    assert "could not begin" in status["reason"]
    assert status["instance"] == json.loads(shipped.read(f"{shipped.prefix.base}/server/attempts/1.json"))["instance"]
