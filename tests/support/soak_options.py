"""The command line of the scripts that hurt a cloud again and again."""

from __future__ import annotations

import argparse
import os
import random
import shutil
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from skylift.cloud.state.home import Home
from support.shared_images import PLACES, ensure_kept_image


@dataclass(frozen=True)
class Options:
    times: int
    seed: str
    images: Home


@contextmanager
def options(arguments: Sequence[str] | None, description: str, what: str, times: int) -> Iterator[Options]:
    """`what` is counted by an option of that name, `times` unless it says otherwise. Prints the seed.

    Servers start from the tests' own image, which is built if there is none. SIGTERM ends the script as Ctrl-C does.
    """
    parser = argparse.ArgumentParser(description=f"{description}; see the module.")
    parser.add_argument(f"--{what}", dest="times", type=int, default=times)
    parser.add_argument("--seed", default=str(random.SystemRandom().randrange(10**6)))
    chosen = parser.parse_args(arguments)
    if os.geteuid() != 0:
        parser.error("servers are made by root")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    # What a killed one leaves in a directory of this name is removed by the next run of the tests.
    place = Path(f"{PLACES}{os.getpid()}")
    place.mkdir(mode=0o755)
    try:
        os.environ["SKYLIFT_DATA"] = str(place)
        images = Home(place / "images")
        ensure_kept_image(images.data)
        print(f"seed {chosen.seed}", flush=True)
        yield Options(chosen.times, chosen.seed, images)
    finally:
        shutil.rmtree(place)
