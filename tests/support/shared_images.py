"""The image that real servers start from, built once a machine: it is kept where every run of the tests finds it.

SKYLIFT_TEST_IMAGES names another directory to keep images in. An image is found by its recipe, so one that has changed
is built anew; what no run has used for two weeks goes.

    python tests/support/shared_images.py     # have the image of this recipe built, before the tests ask for it
"""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from skylift.cloud.compute.image.image import ensure_image
from skylift.cloud.compute.image.recipe import read_recipe
from skylift.cloud.state.data import Data

KEPT = Path("/var/cache/skylift-tests")
PLACES = "/var/lib/skylift-tests-"
"""And the pid of a run: root's data of its clouds, and the image that they share."""
UNUSED = 14 * 24 * 3600
"""Seconds after which an image that nobody asks for is removed."""


def kept_images() -> Path:
    return Path(os.environ.get("SKYLIFT_TEST_IMAGES") or KEPT / "images")


def ensure_kept_image(data: Data) -> None:
    """The default image in `data`, from those that are kept; built and kept if there is none. Whoever else needs one
    waits: it is built once, however many processes and runs ask at the same time."""
    kept = kept_images()
    image = read_recipe().image_id
    kept.mkdir(mode=0o700, parents=True, exist_ok=True)
    with one_at_a_time(kept / "images"):
        data.images.mkdir(mode=0o711, parents=True, exist_ok=True)
        # Other recipes' images are other checkouts': a cloud would offer them beside its own.
        share_images(kept, data.images, image)
        ensure_image(data, lambda fraction, text: None)
        share_images(data.images, kept, image)
        os.utime(kept / f"{image}.json")
        forget_unused(kept)


def share_images(source: Path, target: Path, name: str = "ami-*") -> None:
    """The same files by other names, or copies on another file system: images never change. The description is last:
    where it is, all is."""
    target.mkdir(mode=0o700, parents=True, exist_ok=True)
    how = "--link" if source.stat().st_dev == target.stat().st_dev else "--reflink=auto"
    for file in source.glob(f"{name}.json"):
        if not (target / file.name).exists():
            shutil.rmtree(target / file.stem, ignore_errors=True)
            for each in (file.with_suffix(""), file):
                subprocess.run(["cp", "--archive", how, str(each), str(target)], check=True)


def forget_unused(kept: Path) -> None:
    for file in kept.glob("ami-*.json"):
        if time.time() - file.stat().st_mtime > UNUSED:
            file.unlink()
            shutil.rmtree(file.with_suffix(""))


@contextmanager
def one_at_a_time(path: Path) -> Iterator[None]:
    """Among all processes that name the same path."""
    with path.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


if __name__ == "__main__":
    if os.geteuid() != 0:
        sys.exit("Images are built by root.")
    with tempfile.TemporaryDirectory(prefix="skylift-tests-image-", dir="/var/lib") as place:
        ensure_kept_image(Data(Path(place) / "cloud"))
