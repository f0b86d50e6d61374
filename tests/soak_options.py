"""The command line of the scripts that hurt a cloud again and again."""

from __future__ import annotations

import argparse
import os
import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from skylift.cloud.home import Home


@dataclass(frozen=True)
class Options:
    times: int
    seed: str
    images: Home


def options(arguments: Sequence[str] | None, description: str, what: str, times: int) -> Options:
    """`what` is counted by an option of that name, `times` unless it says otherwise. Prints the seed."""
    parser = argparse.ArgumentParser(description=f"{description}; see the module.")
    parser.add_argument(f"--{what}", dest="times", type=int, default=times)
    parser.add_argument("--seed", default=str(random.SystemRandom().randrange(10**6)))
    parser.add_argument("--images", type=Path, default=os.environ.get("SKYLIFT_TEST_IMAGES"), help="a state directory")
    chosen = parser.parse_args(arguments)
    if chosen.images is None:
        parser.error("--images, or SKYLIFT_TEST_IMAGES: a state directory in which an image has been built")
    print(f"seed {chosen.seed}", flush=True)
    return Options(chosen.times, chosen.seed, Home(Path(chosen.images)))
