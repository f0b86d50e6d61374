"""How long do commands take that do next to nothing? `skylift --help`, and `skylift setup` where all is set up.

    sudo python bench/startup.py [--rounds N] [--images-of HOME]

The floor is the same Python that does nothing. Rounds alternate; shown are medians, and the median of each round's
ratio. Run it with the Python of a plain install: what else an environment holds can slow imports down.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time

from own_cloud import SKYLIFT, add_images_option, cloud_up, environment

from skylift.cloud.state.home import Home

COMMANDS = {
    "python -c pass": (sys.executable, "-c", "pass"),
    "skylift --help": (*SKYLIFT, "--help"),
    "skylift run --help": (*SKYLIFT, "run", "--help"),
    "skylift cloud status": (*SKYLIFT, "cloud", "status"),
    "skylift setup": (*SKYLIFT, "setup", "--yes"),
    "skylift ps": (*SKYLIFT, "ps"),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=20)
    add_images_option(parser)
    chosen = parser.parse_args()
    with cloud_up(chosen.images_of) as home:
        rounds = [{name: seconds(home, command) for name, command in COMMANDS.items()} for _ in range(chosen.rounds)]
    print(f"{len(rounds)} rounds, medians")
    floor = next(iter(COMMANDS))
    for name in COMMANDS:
        median = statistics.median(each[name] for each in rounds)
        ratio = statistics.median(each[name] / each[floor] for each in rounds)
        print(f"  {name:24}{median * 1000:7.0f} ms{ratio:7.1f}x")


def seconds(home: Home, command: tuple[str, ...]) -> float:
    began = time.perf_counter()
    done = subprocess.run(command, env=environment(home), capture_output=True, text=True, check=False)
    taken = time.perf_counter() - began
    if done.returncode != 0:
        raise SystemExit(f"{' '.join(command)} exited with {done.returncode}:\n{done.stderr}")
    return taken


if __name__ == "__main__":
    main()
