"""Images of the machine that no cloud needs any more.

When a cloud starts, it writes the names of the images that it needs to its own file. A cloud that has not started yet
is protected by the time of its look-up: an image that was looked up a moment ago counts as needed.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from skylift.cloud.compute.disk.mount_table import mounts
from skylift.cloud.compute.image.image import one_builder, remove_tree
from skylift.cloud.state.data import Data
from skylift.cloud.state.durable import replace_file

log = logging.getLogger(__name__)

RECENT = 86400
"""Seconds that an image is kept after the last look for it, even if no cloud needs it."""


def name_images(data: Data, needed: Iterable[str]) -> None:
    """Say which images this cloud needs."""
    replace_file(data.images_in_use, json.dumps(sorted(needed)).encode(), 0o600)


def remove_unneeded(data: Data) -> list[str]:
    """The names of the removed images; needs root. While an image is being built, nothing is removed: the next start
    does it.
    """
    with suppress(BlockingIOError), one_builder(data, None):
        clouds = [data.path, *data.images.parent.glob("*/*/")]
        needed = set().union(*map(_needed, clouds))
        # It is not known what clouds of an earlier version need.
        known = all((each.parent / "images.json").exists() for each in data.path.parent.glob("*/state.db"))
        gone = [each for each in _images(data.images) if each.name not in needed]
        gone += [
            each
            for each in (_images(data.user_images) if known else ())
            if each.name not in needed or (data.images / f"{each.name}.json").exists()
        ]
        return [each.name for each in gone if _remove(each)]
    return []


def _images(place: Path) -> list[Path]:
    """All images, including partly removed ones."""
    return sorted({each.with_suffix("") for each in place.glob("ami-*")})


def _needed(cloud: Path) -> set[str]:
    """Raises OSError, ValueError: a file that cannot be read does not say what is needed."""
    file = cloud / "images.json"
    return set(json.loads(file.read_bytes())) if file.exists() else set()


def _remove(image: Path) -> bool:
    manifest = image.with_suffix(".json")
    if _is_mounted(image) or (manifest.exists() and time.time() - manifest.stat().st_mtime < RECENT):
        return False
    # First: where it is, all is.
    manifest.unlink(missing_ok=True)
    remove_tree(image)
    log.info("image %s was removed: no cloud of this machine needs it", image.name)
    return True


def _is_mounted(image: Path) -> bool:
    """Under a server, at a place of that server's: the fourth field is what of its file system is mounted there."""
    tail = f"/{image.parent.name}/{image.name}/root"
    return any(str(mount.root).endswith(tail) for mount in mounts())
