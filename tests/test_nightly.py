"""The night's order, summary and exit code, with parts that are small."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import nightly
from nightly import Part, parts, run, summary
from support.killed_runs import has_ended
from support.real_server import until

TESTS = Path(__file__).parent


def part(name: str, code: str, **more: str) -> Part:
    return Part(name, [sys.executable, "-c", code], **more)


def test_a_part_that_fails_keeps_none_from_running() -> None:
    outcomes = run([part("bad", "raise SystemExit(3)"), part("good", ""), part("elsewhere", "", missing="needs root")])
    assert [(each.name, each.text, each.failed) for each in outcomes] == [
        ("bad", "FAILED with exit code 3", True),
        ("good", "passed", False),
        ("elsewhere", "not run: needs root", False),
    ]
    lines = summary(outcomes).splitlines()
    assert lines[0].split() == "bad 0 m 00 s FAILED with exit code 3".split()
    assert lines[2].split() == "elsewhere 0 m 00 s not run: needs root".split()


def test_a_part_imports_from_its_folder() -> None:
    code = "import sys; sys.exit(sys.path[1] != sys.argv[1])"
    (outcome,) = run([Part("one", [sys.executable, "-c", code, str(TESTS / "cloud/clients")], path="cloud/clients")])
    assert outcome.text == "passed"


def test_every_script_is_there_and_knows_its_options() -> None:
    for each in parts(["true"])[2:]:
        asked = subprocess.run(
            [*each.command, "--help"],
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, "PYTHONPATH": f"{TESTS / each.path}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"},
        )
        assert asked.returncode == 0, asked.stderr
        assert each.command[2] in asked.stdout


def test_a_signal_ends_the_part_first_and_is_told(tmp_path: Path) -> None:
    """Started as a shell starts what is in the background: with SIGINT ignored."""
    (tmp_path / "part.py").write_text(
        textwrap.dedent(
            """
            import pathlib, signal
            try:
                pathlib.Path("begun").touch()
                signal.pause()
            finally:
                pathlib.Path("cleared").touch()
            """
        )
    )
    night = textwrap.dedent(
        """
        import sys, nightly
        two = [nightly.Part(name, [sys.executable, "part.py"]) for name in ("first", "second")]
        nightly.parts = lambda tests: two
        sys.exit(nightly.main([]))
        """
    )
    running = subprocess.Popen(
        ["env", "--ignore-signal=INT", sys.executable, "-c", night],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": f"{TESTS}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"},
    )
    until((tmp_path / "begun").exists, "the first part")
    running.terminate()
    said, _ = running.communicate()
    assert running.returncode == 1
    assert (tmp_path / "cleared").exists()
    ends = [" ".join(line.split()[4:]) for line in said.splitlines()[-2:]]
    assert ends == ["s interrupted by SIGTERM", "s not run: interrupted"]


def test_a_part_does_not_outlive_a_night_that_is_killed(tmp_path: Path) -> None:
    code = "import nightly, sys; nightly.run([nightly.Part('one', [sys.executable, '-c', sys.argv[1]])])"
    inner = "import pathlib, os, time; pathlib.Path('pid').write_text(str(os.getpid())); time.sleep(600)"
    running = subprocess.Popen(
        [sys.executable, "-c", code, inner],
        cwd=tmp_path,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "PYTHONPATH": f"{TESTS}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"},
    )
    file = tmp_path / "pid"
    pid = int(until(lambda: file.exists() and file.read_text(), "the part"))
    running.kill()
    running.wait()
    until(lambda: has_ended(pid), "the part to end")


def test_what_it_is_told_is_the_first_part() -> None:
    assert parts(["pytest", "-x"])[0] == Part("tests", ["pytest", "-x"])
    assert nightly.GRACE > 180, "a soak waits that long for what happens by itself"
    assert signal.getsignal(signal.SIGTERM) is not nightly.interrupt
