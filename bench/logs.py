"""How far behind is the screen? Lines from the program's write to the client's output: how many a second, how late.

    sudo python bench/logs.py [--rounds N] [--lines N] [--images-of HOME]

In each round, and each also by `ssh HOST python3 speaker.py` to a server of the same kind, which is the floor:

- `paced`: a million lines a minute, each by a write of its own, for as long as `--lines` lasts;
- `each`: as many, as fast as it goes; `blocks`: likewise, a hundred lines a write;
- `one line`: of 100 MB.

Every byte that arrives is compared with what was to arrive. `lag` is the time from a line's write to its arrival; it
grows where the program is quicker than the way.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from own_cloud import SKYLIFT, add_images_option, cloud_up, environment, server_with
from speaker import LENGTH

PROGRAM = Path(__file__).with_name("speaker.py")
A_MINUTE = 1_000_000
LINE = 100_000_000
PIECE = 1 << 20


@dataclass(frozen=True)
class Heard:
    """`seconds` from the first write to the last arrival; lags in seconds."""

    size: int
    seconds: float
    p50: float = 0.0
    p99: float = 0.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--lines", type=int, default=250_000)
    add_images_option(parser)
    chosen = parser.parse_args()
    count = str(chosen.lines)
    cases: dict[str, tuple[str, ...]] = {
        "paced": ("lines", count, str(A_MINUTE // 60)),
        "each": ("lines", count, "0"),
        "blocks": ("blocks", count),
        "one line": ("line", str(LINE)),
    }
    found: dict[tuple[str, str], list[Heard]] = {}
    with cloud_up(chosen.images_of) as home, tempfile.TemporaryDirectory(prefix="skylift-bench-") as folder:
        ssh = server_with(home, Path(folder), PROGRAM)
        ways = {"ssh": (*ssh, "python3", "speaker.py"), "skylift run": (*SKYLIFT, "run", "--quiet", str(PROGRAM))}
        for _ in range(chosen.rounds):
            for case, words in cases.items():
                for way, command in ways.items():
                    heard = listen((*command, *words), environment(home), folder)
                    found.setdefault((case, way), []).append(heard)
    print(f"{chosen.rounds} rounds of {count} lines of {LENGTH} bytes, and a line of {LINE:,}; medians;", end=" ")
    print(f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} processors")
    for (case, way), all_heard in found.items():
        report(case, way, all_heard)


def listen(command: Sequence[str], env: dict[str, str], folder: str) -> Heard:
    """Run it, and look at what it writes. Exits where that is not what it was to be."""
    arrivals: list[tuple[float, bytes]] = []
    with tempfile.TemporaryFile() as errors:
        child = subprocess.Popen(command, env=env, cwd=folder, stdout=subprocess.PIPE, stderr=errors)
        assert child.stdout is not None
        while piece := os.read(child.stdout.fileno(), PIECE):
            arrivals.append((time.time(), piece))
        code = child.wait()
        errors.seek(0)
        said = errors.read()
    if code != 0:
        raise SystemExit(f"{' '.join(command)} exited with {code}:\n{said.decode()}")
    whole = b"".join(piece for _, piece in arrivals)
    if "line" in command:
        if whole != b"x" * (LINE - 1) + b"\n":
            raise SystemExit(f"{' '.join(command)}: {len(whole)} bytes came, and not as they were")
        return Heard(len(whole), arrivals[-1][0] - int(said.split()[-1]) / 1e9)
    count = int(command[command.index("speaker.py" if "speaker.py" in command else str(PROGRAM)) + 2])
    if [int(whole[start + 20 : start + 28]) for start in range(0, len(whole), LENGTH)] != list(range(count)):
        raise SystemExit(f"{' '.join(command)}: of {count} lines, {len(whole) / LENGTH} came, and not as they were")
    stamps = [int(whole[start : start + 19]) / 1e9 for start in range(0, len(whole), LENGTH)]
    lags = sorted(_lags(arrivals, stamps))
    return Heard(len(whole), arrivals[-1][0] - stamps[0], lags[len(lags) // 2], lags[len(lags) * 99 // 100])


def _lags(arrivals: list[tuple[float, bytes]], stamps: list[float]) -> Iterator[float]:
    size = done = 0
    for when, piece in arrivals:
        size += len(piece)
        whole = size // LENGTH
        yield from (when - stamp for stamp in stamps[done:whole])
        done = whole


def report(case: str, way: str, heard: list[Heard]) -> None:
    seconds = statistics.median(each.seconds for each in heard)
    size = heard[0].size
    line = f"  {case:10}{way:13}{seconds:7.2f} s  {size / seconds / 1e6:6.1f} MB/s"
    if case != "one line":
        lags = [statistics.median(values) * 1000 for values in zip(*((one.p50, one.p99) for one in heard), strict=True)]
        line += f"  {size / LENGTH / seconds:9,.0f} lines/s  lag {lags[0]:.1f} ms, p99 {lags[1]:.1f} ms"
    print(line)


if __name__ == "__main__":
    main()
