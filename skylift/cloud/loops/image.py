"""Makes images of servers' disks, and removes those that nobody needs any more."""

from __future__ import annotations

import logging
import threading
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Protocol

from skylift.cloud.instance import Image, Instance
from skylift.cloud.loops.work import Work
from skylift.cloud.store.database import Database, Tx
from skylift.cloud.volume import Snapshot

log = logging.getLogger(__name__)

_LEFT_OVER = ""
"""In the place of an image's id: what no image needs any more."""


class Holdable(Protocol):
    """The part of compute's servers that this loop drives."""

    def running(self) -> dict[str, int]: ...
    def pause(self, server_id: str) -> None: ...
    def resume(self, server_id: str) -> None: ...


class Disks(Protocol):
    """The part of compute's captures that this loop drives; see compute/capture.py."""

    def take(
        self,
        image_id: str,
        *,
        lower: Path,
        disk: Path,
        uid_base: int,
        held: Callable[[], AbstractContextManager[None]] | None,
    ) -> Path: ...
    def root(self, image_id: str) -> Path: ...
    def keep(self, needed: set[Path]) -> None: ...


class ImageLoop:
    """`instances` is the directory of servers' disks, `failures` are the exceptions compute has for "cannot".

    Of each disk at most one copy is made at a time, and never while its server boots: `at_rest` waits for that.
    """

    def __init__(
        self,
        database: Database,
        machines: Holdable,
        captures: Disks,
        instances: Path,
        failures: tuple[type[Exception], ...],
    ) -> None:
        self._database = database
        self._machines = machines
        self._captures = captures
        self._instances = instances
        self._failures = failures
        self._work = Work("image", self._see_to, workers=2)
        self._lock = threading.Lock()
        self._disks: defaultdict[str, threading.Lock] = defaultdict(threading.Lock)

    def step(self) -> None:
        """Start work on every image that waits for a disk which can be copied now, and on what is left over."""
        with self._database.read() as tx:
            pending = tx.find(Image, state="pending")
            unneeded = _unneeded(tx)
        for image in pending:
            self._work.submit(image.id)
        if unneeded:
            self.tidy()

    def at_rest(self, instance_id: str) -> None:
        """Make the images that wait for this disk, not in use now. Returns when no copy is being made of it."""
        with self._of(instance_id):
            with self._database.read() as tx:
                pending = tx.find(Image, source_instance_id=instance_id, state="pending")
                instance = tx.get(Instance, id=instance_id)
            for image in pending:
                assert instance is not None
                self._capture(image, instance)

    def wait_until_idle(self) -> None:
        self._work.wait_until_idle()

    def close(self) -> None:
        """Finish the copies that are being made and start no more."""
        self._work.close()

    def _of(self, instance_id: str) -> threading.Lock:
        with self._lock:
            return self._disks[instance_id]

    def _see_to(self, image_id: str) -> None:
        if image_id == _LEFT_OVER:
            self.clean_up()
        else:
            self._make(image_id)

    def _make(self, image_id: str) -> None:
        with self._database.read() as tx:
            found = tx.get(Image, id=image_id)
        if found is None or found.source_instance_id is None:
            return
        with self._of(found.source_instance_id):
            with self._database.read() as tx:
                image = tx.get(Image, id=image_id)
                instance = tx.get(Instance, id=found.source_instance_id)
            if image is None or image.state != "pending":
                return
            if instance is None or instance.state == "terminated":
                self._settle(image.id, state="failed", state_reason="Its instance has ended.")
            elif image.no_reboot or instance.state == "stopped":
                self._capture(image, instance)
            # Else the loop of instances calls `at_rest` when the server has shut down.

    def _capture(self, image: Image, instance: Instance) -> None:
        try:
            root = self._copy(image.id, instance)
        except self._failures as error:
            log.error("image %s of %s: %s", image.id, instance.id, error)
            self._settle(image.id, state="failed", state_reason=str(error))
            return
        log.info("image %s of %s: available", image.id, instance.id)
        self._settle(image.id, state="available", root=str(root))

    def copy_root(self, name: str, instance: Instance) -> Path:
        """A copy of an instance's root disk, as the root directory of images; raises `failures`."""
        with self._of(instance.id):
            return self._copy(name, instance)

    def _copy(self, name: str, instance: Instance) -> Path:
        with self._database.read() as tx:
            below = tx.get(Image, id=instance.image_id)
        assert below is not None, "an image stays as long as a server's disk is based on it"
        runs = instance.id in self._machines.running()
        return self._captures.take(
            name,
            lower=Path(below.root),
            disk=self._instances / instance.id,
            uid_base=instance.uid_base,
            held=(lambda: self._held(instance.id)) if runs else None,
        )

    @contextmanager
    def _held(self, instance_id: str) -> Iterator[None]:
        """Every process of the server stands still inside; one that has ended meanwhile does so anyway."""
        try:
            self._machines.pause(instance_id)
        except self._failures:
            if instance_id in self._machines.running():
                raise
        try:
            yield
        finally:
            self._machines.resume(instance_id)

    def _settle(self, image_id: str, **changes: object) -> None:
        with self._database.write() as tx:
            current = tx.get(Image, id=image_id)
            if current is not None and current.state == "pending":
                tx.save(replace(current, **changes))  # type: ignore[arg-type]
                return
        # It was deregistered while it was being made.
        self.tidy()

    def tidy(self) -> None:
        """Clean up in the background: what there is to delete may be gigabytes."""
        self._work.submit(_LEFT_OVER)

    def clean_up(self) -> None:
        """Forget deregistered images that no server's disk lies over, and delete root directories without an image."""
        with self._database.write() as tx:
            for image in _unneeded(tx):
                tx.remove(image)
            all_of_them: list[Image | Snapshot] = [*tx.find(Image), *tx.find(Snapshot, of_root=True)]
        needed = {Path(one.root) for one in all_of_them if one.root}
        # One that is being made at this moment has no root yet in its row.
        making = {one.id for one in all_of_them if one.state == "pending"}
        self._captures.keep(needed | {self._captures.root(name) for name in making})


def _unneeded(tx: Tx) -> list[Image]:
    leaving = tx.find(Image, state="deregistered")
    if not leaving:
        return []
    used = {instance.image_id for instance in tx.find(Instance) if instance.state != "terminated"}
    return [image for image in leaving if image.id not in used]
