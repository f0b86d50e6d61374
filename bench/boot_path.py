"""What a boot is made of: the path from the request to sshd's banner, by program, without waits for a processor.

    sudo python bench/boot_path.py [--rounds N] [--images-of HOME]

perf(1) records who ran when and who woke whom. The path is followed backwards from the banner: from the time when a
thread began to run to the one that woke it. What woke it from outside (a disk, a timer) makes a wait of its own. Other
work on the machine makes a path longer by waits for a processor, which do not count; it may take another way, too.
"""

from __future__ import annotations

import argparse
import os
import re
import select
import signal
import statistics
import subprocess
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from bare_server import bare_server
from boot import Launches, Times
from own_cloud import add_images_option, cloud_up

from skylift.cloud.compute.image.image import default_image

EVENTS = "switch waking wakeup_new process_exec process_fork".split()
LINE = re.compile(
    r"\s*(?P<comm>.*?)\s+(?P<tid>-?\d+)\s+\[(?P<cpu>\d+)\]\s+(?P<at>[\d.]+):\s+sched:sched_(?P<what>\w+):\s+"
)
LAST = ("sshd-session", "sshd-auth")
"""Programs that say the banner."""


@dataclass
class Record:
    """What perf saw, by thread. `ours` are the threads of the launch and all that they have begun."""

    ours: set[int]
    ran: dict[int, list[tuple[float, float, bool]]] = field(default_factory=lambda: defaultdict(list))
    """From when until when, and whether it would have gone on."""
    woken: dict[int, list[tuple[float, int, bool]]] = field(default_factory=lambda: defaultdict(list))
    """When, by whom, and whether it is new."""
    names: dict[int, list[tuple[float, str]]] = field(default_factory=lambda: defaultdict(list))

    def name(self, thread: int, at: float) -> str:
        known = self.names[thread]
        return known[max(bisect_right([each[0] for each in known], at) - 1, 0)][1] if known else "?"


@contextmanager
def both_ways(fifo: Path) -> Iterator[int]:
    descriptor = os.open(fifo, os.O_RDWR)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


@contextmanager
def recording(file: Path) -> Iterator[None]:
    """perf is on when the block begins."""
    control, answers = file.with_suffix(".control"), file.with_suffix(".answers")
    os.mkfifo(control)
    os.mkfifo(answers)
    command = ["perf", "record", "-q", "-a", "-k", "CLOCK_MONOTONIC", "-m", "8M", "-D", "-1", "-o", str(file)]
    command += ["-e", ",".join(f"sched:sched_{each}" for each in EVENTS), "--control", f"fifo:{control},{answers}"]
    # Opened for both, so that nobody waits for a perf that has ended: it refuses events that this kernel does not show.
    with subprocess.Popen(command) as perf, both_ways(control) as say, both_ways(answers) as said:
        os.write(say, b"enable\n")
        while not select.select([said], [], [], 1)[0]:
            if perf.poll() is not None:
                raise SystemExit(f"perf has ended with {perf.returncode}; see above")
        os.read(said, 4096)
        try:
            yield
        finally:
            perf.send_signal(signal.SIGINT)
            perf.wait()


def read(file: Path, ours: set[int]) -> Record:
    command = ["perf", "script", "-i", str(file), "-F", "comm,tid,cpu,time,event,trace", "--ns"]
    lines = subprocess.run(command, check=True, capture_output=True, text=True, errors="replace").stdout.splitlines()
    record, current = Record(set(ours)), dict[int, tuple[int, float]]()
    for line in lines:
        found = LINE.match(line)
        if found is None:
            continue
        at, cpu, rest = float(found["at"]), int(found["cpu"]), line[found.end() :]

        def number(name: str, text: str = rest) -> int:
            return int(re.findall(rf"\b{name}=(\d+)", text)[-1])

        match found["what"]:
            case "switch":
                before, after = number("prev_pid"), number("next_pid")
                if cpu in current:
                    thread, since = current[cpu]
                    record.ran[thread].append((since, at, "prev_state=R" in rest))
                current[cpu] = after, at
                for thread, side in ((before, "prev"), (after, "next")):
                    name = re.findall(rf"{side}_comm=(.*?) {side}_pid", rest)[0]
                    if not record.names[thread] or record.names[thread][-1][1] != name:
                        record.names[thread].append((at, name))
            case "waking" | "wakeup_new" as what:
                # A process on its way out has no number any more.
                waker = int(found["tid"]) if int(found["tid"]) > 0 else current.get(cpu, (0, at))[0]
                record.woken[number("pid")].append((at, waker, what == "wakeup_new"))
            case "process_fork":
                if int(re.findall(r"\bpid=(\d+)", rest)[0]) in record.ours:
                    record.ours.add(number("child_pid"))
            case "process_exec":
                record.names[number("pid")].append((at, Path(re.findall(r"filename=(\S+)", rest)[0]).name))
    return record


def path(record: Record, length: float, client: int) -> Iterator[tuple[str, str, float]]:
    """Program, `run`, `wait` or `queue`, and seconds, from the banner back to the beginning, so many seconds before."""
    told = [(at, waker) for at, waker, _ in record.woken[client] if record.name(waker, at) in LAST]
    if not told:
        return
    now, thread = min(told)
    began = now - length
    while now > began:
        pieces = record.ran[thread]
        index = bisect_right([piece[0] for piece in pieces], now - 1e-9) - 1
        if index < 0:
            return
        since, until, _ = pieces[index]
        yield record.name(thread, now), "run", min(until, now) - max(since, began)
        earlier = pieces[index - 1] if index else None
        if earlier is not None and earlier[2]:
            yield record.name(thread, since), "queue", since - earlier[1]
            now = earlier[1]
            continue
        rested = earlier[1] if earlier else began
        calls = [each for each in record.woken[thread] if rested - 1e-4 <= each[0] <= since]
        new = [each for each in calls if each[2]]
        if not calls:
            yield record.name(thread, since), "wait", since - rested
            now = rested
            continue
        at, waker, _ = new[-1] if new else calls[0]
        yield record.name(thread, since), "queue", since - at
        # The client asks again and again whether sshd listens: it is not what sshd waits for.
        asked = waker == client and record.name(thread, since) == "sshd"
        if waker in record.ours and not asked:
            thread, now = waker, at
        else:
            yield record.name(thread, since), "wait", at - rested
            now = rested


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=8)
    add_images_option(parser)
    chosen = parser.parse_args()
    found: dict[str, list[dict[tuple[str, str], float]]] = {"floor": [], "skylift": []}
    with ExitStack() as stack:
        home = stack.enter_context(cloud_up(chosen.images_of))
        image, cloud = default_image(home.data), home.running_pid()
        assert image is not None and cloud is not None
        floor = stack.enter_context(bare_server(image.root, home))
        kinds: dict[str, Callable[[], Times]] = {"floor": floor.measure, "skylift": Launches(home, home.path).measure}
        for measure in kinds.values():
            measure()
        for number in range(chosen.rounds):
            for kind, measure in kinds.items():
                file = home.path / f"{kind}-{number}.perf"
                with recording(file):
                    tasks = [each for pid in (os.getpid(), cloud) for each in Path(f"/proc/{pid}/task").iterdir()]
                    length = measure()["banner"]
                record, spent = read(file, {int(each.name) for each in tasks}), dict[tuple[str, str], float]()
                for program, how, seconds in path(record, length, os.getpid()):
                    spent[program, how] = spent.get((program, how), 0.0) + seconds
                # perf may have lost a part of it.
                if sum(spent.values()) > 0.97 * length:
                    found[kind].append(spent)
                file.unlink()
    report(found)


def report(found: dict[str, list[dict[tuple[str, str], float]]]) -> None:
    for kind, rounds in found.items():
        if not rounds:
            raise SystemExit(f"perf has lost a part of each launch of {kind}; there is no path")
        print(f"\n{kind}: {len(rounds)} launches, mean ms on the path")
        print(f"  {'':24}{'runs':>8}{'waits':>8}")
        programs = {program for each in rounds for program, _ in each}

        def mean(program: str, how: str, among: list[dict[tuple[str, str], float]] = rounds) -> float:
            return statistics.mean(each.get((program, how), 0.0) for each in among) * 1000

        for program in sorted(programs, key=lambda each: -mean(each, "run") - mean(each, "wait")):
            if mean(program, "run") + mean(program, "wait") >= 0.1:
                print(f"  {program:24}{mean(program, 'run'):8.1f}{mean(program, 'wait'):8.1f}")
        whole = [sum(spent for (_, how), spent in each.items() if how != "queue") * 1000 for each in rounds]
        print(f"  {'all of it: least':24}{min(whole):8.1f}\n  {'... median':24}{statistics.median(whole):8.1f}")


if __name__ == "__main__":
    main()
