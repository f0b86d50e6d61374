"""Takes a cloud off the machine: nothing of it stays in the kernel, and its data stay only to be started again."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace

from skylift.cloud.compute.disk.mount_table import mounted_in
from skylift.cloud.compute.disk.removal import NotRemoved, Removal, set_aside, trees_aside
from skylift.cloud.compute.leftover import await_leftovers
from skylift.cloud.compute.network.network import loopback_ranges, sweep
from skylift.cloud.compute.server.lxcfs import stop_lxcfs
from skylift.cloud.compute.server.server import Servers
from skylift.cloud.domain.instance import Instance
from skylift.cloud.loops.ec2.instance import SHUTDOWN_GRACE
from skylift.cloud.process.cannot_start import CannotStart
from skylift.cloud.process.lock import hold
from skylift.cloud.state.durable import sync_directory
from skylift.cloud.state.home import Home
from skylift.cloud.store.database import Database
from skylift.cloud.wiring.paths import RUN, lxcfs_at, make_disks, make_servers, work_directories


def take_down(home: Home, *, erase: bool = False) -> None:
    """End every server of this cloud and remove all it has in the kernel; disks, images and state stay, unless they are
    to be erased."""
    data = home.data
    with hold(home):
        data.down_mark.touch()
        sync_directory(data.path)
        leave_machine(home, 0 if erase else SHUTDOWN_GRACE)
        if erase:
            _erase(home)


def shut_servers_down(database: Database, servers: Servers) -> None:
    """The machine goes off: as after a power cut, the next start boots those that run now, however they end. What runs
    on them has SIGTERM and the time that a server's shutdown gives it."""
    running = servers.running()
    with database.write() as tx:
        for row in tx.find(Instance, state="running"):
            if row.id in running and row.desired == "running":
                tx.save(replace(row, rebooting=True))
    servers.shut_down(SHUTDOWN_GRACE)


def leave_machine(home: Home, grace: float) -> None:
    """Servers have `grace` seconds to shut down. Nothing is written to the data directory."""
    loopback = loopback_ranges().find(home.path)
    if loopback is None:
        return
    data = home.data
    await_leftovers(work_directories(data, loopback))
    servers = make_servers(data, loopback, lambda *_: None)
    servers.remove_all(grace)
    make_disks(data, loopback).unmount_all()
    stop_lxcfs(lxcfs_at(loopback))
    servers.remove_directory()
    servers.close()
    sweep(home.path)
    with suppress(OSError):
        # Only the last cloud of the machine finds it empty.
        RUN.rmdir()


def _erase(home: Home) -> None:
    """Deletes this cloud, but not the images that all clouds of a machine share. A rename removes it at once, as half
    of its data would not work. The next start tries again to delete what is left."""
    data = home.data
    if inside := mounted_in(data.path):
        raise CannotStart(
            f"Something is mounted at {inside[0]}: nothing was erased. Unmount it and run this command again."
        )
    # First: once the data have another name, another start may write these files anew.
    home.forget()
    set_aside(data.path)
    sync_directory(data.path.parent)
    refused = []
    for tree in trees_aside([data.path.parent]):
        try:
            Removal(tree).wait()
        except NotRemoved as error:
            refused.append(error)
    if refused:
        raise NotRemoved(f"The cloud is gone, but not all of its files: {refused[0]}. Each start tries it again.")
