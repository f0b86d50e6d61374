"""How a cloud leaves the machine: nothing of it stays in the kernel."""

from __future__ import annotations

from contextlib import suppress

from skylift.cloud.compute.leftover import await_leftovers
from skylift.cloud.compute.lxcfs import stop_lxcfs
from skylift.cloud.compute.network import claims, sweep
from skylift.cloud.durable import sync_directory
from skylift.cloud.home import Home
from skylift.cloud.joints.premises import RUN, lxcfs_at, make_disks, make_servers, places_of_work
from skylift.cloud.lock import hold
from skylift.cloud.loops.instance import SHUTDOWN_GRACE


def take_down(home: Home) -> None:
    """End every server of this cloud and remove all it has in the kernel; disks, images and state stay."""
    with hold(home):
        home.down_mark.touch()
        sync_directory(home.path)
        leave_machine(home, SHUTDOWN_GRACE)


def leave_machine(home: Home, grace: float) -> None:
    """Servers have so many seconds to shut down. Nothing is written to the state directory."""
    claim = claims().find(home.path)
    if claim is None:
        return
    await_leftovers(places_of_work(home, claim))
    servers = make_servers(home, claim, lambda *_: None)
    servers.remove_all(grace)
    make_disks(home, claim).unmount_all()
    stop_lxcfs(lxcfs_at(claim))
    servers.remove_directory()
    servers.close()
    sweep(home.path)
    with suppress(OSError):
        # Only the last cloud of the machine finds it empty.
        RUN.rmdir()
