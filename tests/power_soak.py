"""The soak with power cuts instead of kills: what was not synced is lost, and servers are off afterwards.

    python tests/power_soak.py --cuts 50        # needs root

The state is on a file system of its own (ext4 on a loop device), which from one moment to the next writes nothing any
more; then everything of the cloud is ended, the file system's log is replayed, and the cloud started on what is there.
"""

from __future__ import annotations

import signal
import sys
from collections.abc import Sequence
from contextlib import ExitStack

from soak import Soak
from support.loop_disk import LoopDisk, cloud_on, disk
from support.real_cloud import RealCloud
from support.soak_options import options
from support.soak_servers import Operator
from support.soak_volumes import Keeper

ROOM = 8192
"""MiB, as far as it is used: images of servers are copies of a whole Debian."""


class PowerSoak(Soak):
    """`disk` has the state of `cloud`."""

    def __init__(self, cloud: RealCloud, seed: str, disk: LoopDisk) -> None:
        super().__init__(cloud, seed)
        self._disk = disk

    def _kill(self) -> None:
        self._killed = True
        # Held first: nobody is to be told that a disk has failed, which is not what happens.
        self._process.send_signal(signal.SIGSTOP)
        with ExitStack() as held:
            for worker in self._workers:
                if isinstance(worker, Keeper):
                    self._wait_for(worker)
                    held.callback(worker.writing.release)
            self._disk.cut()
        self._process.send_signal(signal.SIGKILL)
        self._process.wait()
        self._disk.power_on(self._cloud.home)
        self.score.kills += 1

    def _wait_for(self, keeper: Keeper) -> None:
        """Until it does not write. It may wait for a file system that the cloud has frozen for a snapshot: the cloud
        goes on until it has thawed that.
        """
        if not keeper.writing.acquire(timeout=2):
            self._process.send_signal(signal.SIGCONT)
            keeper.writing.acquire()
            self._process.send_signal(signal.SIGSTOP)

    def _verify(self) -> None:
        for worker in self._workers:
            if isinstance(worker, Operator | Keeper):
                worker.have_been_off()
        super()._verify()


def main(arguments: Sequence[str] | None = None) -> int:
    with (
        options(arguments, "Cut a cloud's power again and again under load", "cuts", 50) as chosen,
        disk(ROOM) as held,
        cloud_on(held, chosen.images) as cloud,
    ):
        PowerSoak(cloud, chosen.seed, held).run(chosen.times, lambda line: print(line, flush=True))
    return 0


if __name__ == "__main__":
    sys.exit(main())
