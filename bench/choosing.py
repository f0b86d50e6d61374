"""How long does it take to choose a server? Among all types by what is needed, and `skylift types` and `price` whole.

    python bench/choosing.py [--rounds N]

The floor is the same Python that does nothing. Each round is a process of its own, so that nothing has been read
before: inside it the clock runs from the first import of the catalogue to the choice. Shown are medians, and the worst.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

SKYLIFT = (sys.executable, "-P", "-m", "skylift.cli.main")

CHOOSING = """
import time
from skylift.client.job.requirements import read_requirements
wanted = read_requirements(cpu="4", memory="16GiB")
began = time.perf_counter()
from skylift import catalogue
types = list(catalogue.types().values())
catalogue.on_demand("t3.small", "us-east-1")
read = time.perf_counter()
from skylift.client.plan.resolve_options import choose
known = time.perf_counter()
choose(wanted, "us-east-1", None)
print(read - began, time.perf_counter() - known, len(types))
"""

COMMANDS = {
    "python -c pass": (sys.executable, "-c", "pass"),
    "skylift types --cpu 4 --memory 16GiB": (*SKYLIFT, "types", "--cpu", "4", "--memory", "16GiB"),
    "skylift types --all --json": (*SKYLIFT, "types", "--all", "--json"),
    "skylift price job.py": (*SKYLIFT, "price", "job.py"),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=20)
    rounds = parser.parse_args().rounds
    taken: dict[str, list[float]] = {name: [] for name in COMMANDS}
    read, chosen = [], []
    with tempfile.TemporaryDirectory(prefix="skylift-bench-") as directory:
        Path(directory, "job.py").touch()
        for _ in range(rounds):
            for name, command in COMMANDS.items():
                taken[name].append(whole(command, directory))
            reading, choosing, count = run((sys.executable, "-c", CHOOSING), directory).split()
            read.append(float(reading))
            chosen.append(float(choosing))
    print(f"{rounds} rounds, load {os.getloadavg()[0]:.0f}; {count} types")
    tell("reading types and a region's prices", read)
    tell("choosing among them", chosen)
    tell("both", [each + other for each, other in zip(read, chosen, strict=True)])
    for name, seconds in taken.items():
        tell(name, seconds)


def whole(command: tuple[str, ...], folder: str) -> float:
    began = time.perf_counter()
    run(command, folder)
    return time.perf_counter() - began


def run(command: tuple[str, ...], folder: str) -> str:
    """In a home with nothing in it: no cloud is asked."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    environment["SKYLIFT_HOME"] = f"{folder}/home"
    done = subprocess.run(command, env=environment, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise SystemExit(f"{' '.join(command)} exited with {done.returncode}:\n{done.stderr}")
    return done.stdout


def tell(what: str, seconds: list[float]) -> None:
    print(f"  {what:40}{statistics.median(seconds) * 1000:7.1f} ms, {max(seconds) * 1000:.1f} at the most")


if __name__ == "__main__":
    main()
