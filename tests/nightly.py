"""`scripts/test --nightly`: every test, and the scripts that hurt clouds and jobs for minutes.

    python tests/nightly.py TESTS...     # TESTS is the command that runs pytest's tests

One part runs after the other, also after one that failed. At the end stands what ran, how long it took and how it
ended. The exit code is 0 if nothing failed. A part that cannot run here is named with its reason, and is no failure.

SIGINT, SIGTERM and SIGHUP end the part that runs, which takes away what it has made, and the night with it.
"""

from __future__ import annotations

import os
import platform
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

TESTS = Path(__file__).parent
GRACE = 300.0
"""Seconds that a part has to take away what it made. Then it is killed, and the guards of its clouds do that."""
NEEDS_ROOT = "needs root"


@dataclass(frozen=True)
class Part:
    name: str
    command: Sequence[str]
    missing: str = ""
    """Why it cannot run here."""
    path: str = ""
    """The folder of tests that it imports from, beside its own."""


@dataclass(frozen=True)
class Outcome:
    name: str
    seconds: float
    text: str
    failed: bool = False


class Interrupted(BaseException):
    """A signal that ends the night."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


def parts(tests: Sequence[str]) -> list[Part]:
    """The tests are first: they are the most, and say most about what is wrong."""
    root = "" if os.geteuid() == 0 else NEEDS_ROOT
    # The kernel's configuration is for this processor alone.
    vm = root or ("" if platform.machine() == "x86_64" else "User-Mode Linux runs on x86-64 alone")
    walks = [sys.executable, "-m", "pytest", "-v", "-m", "vm", str(TESTS / "vm")]
    return [
        Part("tests", tests),
        Part("walks on a Debian 13", walks, vm),
        Part("endpoint under fire", script("fuzz_endpoint.py", "--seconds", "600"), path="cloud/clients"),
        Part("histories of jobs", script("life/life_history.py", "--histories", "20000")),
        Part("chaos", script("chaos.py", "--rounds", "100"), root),
        Part("spot notices", script("interrupted.py", "--times", "10"), root),
        Part("soak", script("soak.py", "--kills", "200"), root),
        Part("power soak", script("power_soak.py", "--cuts", "50"), root),
    ]


def script(name: str, *options: str) -> list[str]:
    return [sys.executable, str(TESTS / name), *options]


def run(parts: Sequence[Part]) -> list[Outcome]:
    """Returns early, without those that were left, if a signal came."""
    outcomes: list[Outcome] = []
    for number, part in enumerate(parts, 1):
        if part.missing:
            outcomes.append(Outcome(part.name, 0.0, f"not run: {part.missing}"))
            continue
        print(f"\n===== {part.name} ({number} of {len(parts)}): {' '.join(part.command)}", flush=True)
        began = time.monotonic()
        try:
            code = run_part(part)
        except Interrupted as error:
            text = f"interrupted by {signal.Signals(error.number).name}"
            outcomes.append(Outcome(part.name, time.monotonic() - began, text, failed=True))
            outcomes += [Outcome(each.name, 0.0, "not run: interrupted", failed=True) for each in parts[number:]]
            return outcomes
        text = "passed" if code == 0 else f"FAILED with exit code {code}"
        outcomes.append(Outcome(part.name, time.monotonic() - began, text, failed=code != 0))
    return outcomes


def run_part(part: Part) -> int:
    """If this process is killed, the kernel sends the part what Ctrl-C does."""
    environment = dict(os.environ)
    if part.path:
        environment["PYTHONPATH"] = os.pathsep.join(
            [str(TESTS / part.path), *filter(None, [os.environ.get("PYTHONPATH")])]
        )
    process = subprocess.Popen(
        ["setpriv", "--pdeathsig", "INT", "--", *part.command],
        stdin=subprocess.DEVNULL,
        env=environment,
        process_group=0,
    )
    try:
        return process.wait()
    except BaseException:
        end(process)
        raise


def end(process: subprocess.Popen[bytes]) -> None:
    """As Ctrl-C on a terminal does, which all of its group hear."""
    for number, patience in ((signal.SIGINT, GRACE), (signal.SIGKILL, None)):
        with suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        with suppress(subprocess.TimeoutExpired):
            process.wait(patience)
            return


def summary(outcomes: Sequence[Outcome]) -> str:
    width = max(len(each.name) for each in outcomes)
    return "\n".join(f"{each.name:{width}}  {took(each.seconds):>9}  {each.text}" for each in outcomes)


def took(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} m {rest:02} s"


def interrupt(number: int, frame: FrameType | None) -> None:
    for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        # Once is enough: what follows takes away what is there.
        signal.signal(each, signal.SIG_IGN)
    raise Interrupted(number)


def main(tests: Sequence[str]) -> int:
    # A shell ignores SIGINT for what it runs in the background. The parts need it, and inherit no handler.
    for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(each, interrupt)
    outcomes = run(parts(tests))
    print(f"\n===== the night\n{summary(outcomes)}", flush=True)
    return 1 if any(each.failed for each in outcomes) else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
