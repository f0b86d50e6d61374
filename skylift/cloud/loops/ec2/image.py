"""Completes images when their snapshots are done, and removes root directories that no image needs."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, Protocol

from skylift.cloud.compute.error import ComputeError
from skylift.cloud.domain.instance import Image, Instance
from skylift.cloud.domain.volume import Snapshot
from skylift.cloud.loops.work import Work
from skylift.cloud.store.database import Database, Tx

log = logging.getLogger(__name__)

_LEFT_OVER = ""
"""Stands in the place of an image's id for files that no image needs any more."""


class RootDirectories(Protocol):
    """The part of compute's captures that this loop drives; see compute/image/image_from_disk.py."""

    def root(self, name: str) -> Path: ...
    def unpack(self, image_id: str, file: Path) -> Path: ...
    def keep(self, needed: set[Path]) -> None: ...


@dataclass(eq=False)
class ImageLoop:
    """An image is available once all of its snapshots are. It shares the root directory of the root volume's snapshot.
    If that is a file system, `file_of(snapshot_id)`, the image gets a separate directory.
    """

    database: Database
    captures: RootDirectories
    file_of: Callable[[str], Path]

    def __post_init__(self) -> None:
        self._work = Work("image", self._see_to, workers=1)

    def step(self) -> None:
        """Looks at each pending image, and starts work on directories that are not needed any more."""
        with self.database.read() as tx:
            pending = tx.find(Image, state="pending")
            unneeded = _unneeded(tx)
        for image in pending:
            self.look_at(image.id)
        if unneeded:
            self.tidy()

    def look_at(self, image_id: str) -> None:
        """A snapshot of this image has been made, or has failed."""
        self._work.submit(image_id)

    def wait_until_idle(self) -> None:
        self._work.wait_until_idle()

    def close(self) -> None:
        self._work.close()

    def _see_to(self, image_id: str) -> None:
        if image_id == _LEFT_OVER:
            self.clean_up()
        else:
            self._settle(image_id)

    def _settle(self, image_id: str) -> None:
        with self.database.write() as tx:
            image = tx.get(Image, id=image_id)
            snapshots = tx.find(Snapshot, image_id=image_id)
            if image is None or image.state != "pending":
                return
            failed = next((one for one in snapshots if one.state == "error"), None)
            if failed is not None:
                log.error("image %s: %s: %s", image_id, failed.id, failed.message)
                tx.save(replace(image, state="failed", state_reason=f"{failed.id}: {failed.message}"))
                return
            if any(one.state == "pending" for one in snapshots):
                return
            root = tx.get(Snapshot, id=image.snapshot_id)
            if root is not None and root.of_root:
                log.info("image %s: available", image_id)
                tx.save(replace(image, state="available", root=root.root))
                return
        self._unpack(image)

    def _unpack(self, image: Image) -> None:
        """If the image is deregistered during the unpacking, the next `clean_up` removes its directory."""
        assert image.snapshot_id is not None
        state: Literal["available", "failed"] = "available"
        root, reason = "", ""
        try:
            root = str(self.captures.unpack(image.id, self.file_of(image.snapshot_id)))
        except ComputeError as error:
            log.error("image %s of %s: %s", image.id, image.snapshot_id, error)
            state, reason = "failed", f"{image.snapshot_id}: {error}"
        with self.database.write() as tx:
            current = tx.get(Image, id=image.id)
            if current is not None and current.state == "pending":
                tx.save(replace(current, state=state, root=root, state_reason=reason))
                return
        self.tidy()

    def tidy(self) -> None:
        """Clean up in the background: what there is to delete may be gigabytes."""
        self._work.submit(_LEFT_OVER)

    def clean_up(self) -> None:
        """Forget deregistered images that no server's disk lies over, and delete root directories without an image."""
        with self.database.write() as tx:
            for image in _unneeded(tx):
                tx.remove(image)
            all_of_them: list[Image | Snapshot] = [*tx.find(Image), *tx.find(Snapshot, of_root=True)]
        needed = {Path(one.root) for one in all_of_them if one.root}
        # The row of an image that is being made has no root yet.
        making = {one.id for one in all_of_them if one.state == "pending"}
        self.captures.keep(needed | {self.captures.root(name) for name in making})


def _unneeded(tx: Tx) -> list[Image]:
    leaving = tx.find(Image, state="deregistered")
    if not leaving:
        return []
    used = {instance.image_id for instance in tx.find(Instance) if instance.state != "terminated"}
    return [image for image in leaving if image.id not in used]
