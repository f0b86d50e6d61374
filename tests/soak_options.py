"""The command line of the scripts that hurt a cloud again and again."""

from __future__ import annotations

import argparse
import os
import random
from collections.abc import Sequence
from dataclasses import dataclass

from skylift.cloud.compute.image.image import default_image
from skylift.cloud.state.data import PLACE
from skylift.cloud.state.home import Home, default_home


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
    chosen = parser.parse_args(arguments)
    os.environ.setdefault("SKYLIFT_DATA", str(PLACE))
    images = default_home()
    if default_image(images.data) is None:
        parser.error("there is no image to start servers from: `skylift setup` builds it")
    print(f"seed {chosen.seed}", flush=True)
    return Options(chosen.times, chosen.seed, images)
