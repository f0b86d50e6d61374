"""Starts, stops and ends servers as the store asks, and writes into the store what became of them."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Collection, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Protocol

from skylift.cloud.compute.disk.disk import NoRoom
from skylift.cloud.compute.error import ComputeError
from skylift.cloud.compute.server.oci import ServerPlan
from skylift.cloud.compute.server.rootfs import NoRoomForRoot, SeedFile
from skylift.cloud.compute.server.server import ASK_AGAIN, EXIT_POWEROFF, EXIT_REBOOT, Status
from skylift.cloud.domain.instance import Console, Instance, State
from skylift.cloud.domain.network import NetworkInterface, Subnet
from skylift.cloud.domain.volume import Volume
from skylift.cloud.loops.work import Work
from skylift.cloud.process.step_times import StepTimes
from skylift.cloud.store.database import Database, StoreError, Tx
from skylift.cloud.store.network import elastic_ip, remove_interface, unsettled

log = logging.getLogger(__name__)

_UNSETTLED: tuple[State, ...] = ("pending", "stopping", "shutting-down")
SHUTDOWN_GRACE = 10.0
"""Seconds that a server has to shut down before it is powered off."""

FIRST_PAUSE, LONGEST_PAUSE = 1.0, 60.0
"""Seconds until the next attempt to keep a root volume, each of which may copy gigabytes."""
_WAITS = "; it has not ended yet, as its root volume cannot be kept: "
"""In a state reason, this stands between the cause of a server's end and the cause of its delay."""


class Machines(Protocol):
    """The part of compute's servers that this loop drives; see compute/server/server.py."""

    def create(self, plan: ServerPlan, seed: Iterable[SeedFile]) -> int: ...
    def start(self, server_id: str) -> None: ...
    def running(self) -> dict[str, int]: ...
    def statuses(self) -> dict[str, Status]: ...
    def known(self) -> set[str]: ...
    def with_disks(self) -> set[str]: ...
    def adopt(self, server_id: str) -> None: ...
    def exit_code(self, server_id: str) -> int | None: ...
    def resume(self, server_id: str) -> None: ...
    def request_shutdown(self, server_id: str) -> None: ...
    def kill(self, server_id: str) -> None: ...
    def clear(self, server_id: str) -> None: ...
    def destroy(self, server_id: str) -> None: ...
    def console(self, server_id: str) -> Console | None: ...


@dataclass(frozen=True)
class ServerNetwork:
    """How a server gets its links. `sync(vpc_ids)` makes networks what the store says, and raises what fails for these
    VPCs, or for all."""

    sync: Callable[[Collection[str]], None]

    attach: Callable[[NetworkInterface, Subnet, int], None]
    detach: Callable[[str], None]
    configure_link: Callable[[NetworkInterface, Subnet, int], None]


@dataclass(frozen=True)
class RootDisks:
    """`at_rest(id)` is called when a server's disk is not in use and is about to be used or deleted, `keep(instance)`
    when the instance is about to end, for a root volume that is to outlive it."""

    at_rest: Callable[[str], None]
    keep: Callable[[Instance], None]


class Volumes(Protocol):
    """The part of the loop of volumes that this one asks for help; see loops/ebs/volume.py."""

    def step(self) -> None: ...
    def before_boot(self, instance_id: str) -> None: ...
    def at_boot(self, instance_id: str, pid: int) -> None: ...
    def at_rest(self, instance_id: str, *, for_good: bool) -> None: ...


@dataclass(frozen=True)
class ServerSpec:
    """What it takes to build a server, worked out from its row."""

    plan: ServerPlan
    seed: tuple[SeedFile, ...]


@dataclass(eq=False)
class InstanceLoop:
    """`server_spec(tx, instance)` says how to build a server. `changed()` is called once the store says that a server
    runs or has ended: other loops wait for that.

    Every server is worked on by at most one thread at a time; different ones in parallel.
    """

    database: Database
    machines: Machines
    network: ServerNetwork
    root_disks: RootDisks
    volumes: Volumes
    server_spec: Callable[[Tx, Instance], ServerSpec]
    changed: Callable[[], None] = lambda: None
    workers: int = 8

    def __post_init__(self) -> None:
        self._work = Work("instance", self._settle, self.workers)
        self._lock = threading.RLock()
        self._ended: dict[str, _End] = {}
        self._asked: dict[str, tuple[float, float]] = {}
        """When servers that were asked to shut down have to be off, and are asked again, on the monotonic clock."""
        self._pauses: dict[str, tuple[float, float]] = {}
        """For servers whose end is delayed: the pause, and until when, on that clock."""
        self._adopting = False

    def adopt(self, stopped: Callable[[], bool] = lambda: False) -> None:
        """At start, before the first step: takes over the running servers, and finds out which others have ended. The
        first step settles the ended ones. Once `stopped`, the rest is left to the next start.

        A failure with one server does not keep the others from being taken over.
        """
        self._adopting = True
        # The runtime is asked once: it looks at all of them each time.
        statuses = self.machines.statuses()
        with self.database.read() as tx:
            rows = {instance.id: instance for instance in tx.find(Instance)}

        def take_over(server_id: str) -> None:
            if not stopped():
                self._take_over(server_id, rows.get(server_id), statuses.get(server_id))

        with ThreadPoolExecutor(self.workers, thread_name_prefix="adoption") as pool:
            for _ in pool.map(take_over, sorted(self.machines.known() | statuses.keys())):
                pass
        if stopped():
            return
        alive = {server_id for server_id, status in statuses.items() if status != "created"}
        for row in rows.values():
            if row.state in ("running", "stopping", "shutting-down") and row.id not in alive:
                self.ended(row.id, self.machines.exit_code(row.id))
        kept = {row.id for row in rows.values() if row.state != "terminated"}
        for server_id in self.machines.with_disks() - kept:
            self._work.submit(server_id)

    def _take_over(self, server_id: str, row: Instance | None, status: Status | None) -> None:
        if row is None or row.state == "terminated":
            self._try(server_id, self.machines.destroy)
        elif row.state == "pending" or status == "created":
            # It may be anywhere between its mount and its start, and building it again is quick. A server that was made
            # and not started could not be asked to shut down.
            self._try(server_id, self.machines.clear)
        elif status is not None:
            self._adopt(server_id)
            if status == "paused":
                self._try(server_id, self.machines.resume)

    def _adopt(self, server_id: str) -> None:
        try:
            self.machines.adopt(server_id)
        except (OSError, ComputeError) as error:
            log.error("instance %s: %s", server_id, error)
            # Unwatched, its end would go unnoticed. So it is handled like a server whose monitor has ended.
            self.ended(server_id, None)

    def step(self) -> None:
        """Start work on every server whose row asks for it, or whose end could not be written down yet."""
        with self._lock:
            self._adopting = False
        with self.database.read() as tx:
            rows = [row for state in _UNSETTLED for row in tx.find(Instance, state=state)]
            rows += tx.find(Instance, rebooting=True)
            servers = [one.instance_id for one in unsettled(tx) if one.instance_id]
        with self._lock:
            ended = list(self._ended)
        for server_id in dict.fromkeys([*(row.id for row in rows), *servers, *ended]):
            self._work.submit(server_id)

    def ended(self, server_id: str, code: int | None) -> None:
        """A server's init has ended with this code."""
        with self._lock:
            self._ended[server_id] = _End(code)
            if self._adopting:
                # Volumes are not adopted yet, nor is every server.
                return
        self._work.submit(server_id)

    def wait_until_idle(self, patience: float | None = None) -> None:
        """Waits until nothing is under way, or `patience` seconds. Servers that have time to shut down do not count."""
        self._work.wait_until_idle(patience)

    def close(self) -> None:
        """Finishes the work under way and starts nothing more; servers go on."""
        self._work.close()

    def _settle(self, server_id: str) -> None:
        with self._lock:
            end = self._ended.get(server_id)
        with self.database.read() as tx:
            row = tx.get(Instance, id=server_id)
        if row is None or row.state == "terminated":
            # A power cut can bring a deleted disk back, if the deletion had not reached the host's disk.
            self.machines.destroy(server_id)
            if end is not None:
                self._forget_end(server_id, end)
            return
        if end is not None:
            if self._is_of_this_boot(row):
                row = self._take_down(row, end.code)
            # Not before: whatever fails up to here, the end has still to be dealt with, and it is reported once.
            self._forget_end(server_id, end)
        if row.state == "pending" and row.desired == "running":
            self._bring_up(row)
        elif row.state == "pending":
            self._finish(row, row.desired)
        elif row.state in ("stopping", "shutting-down"):
            self._shut_down(row)
        elif row.state == "running" and row.rebooting:
            self._reboot(row)
        elif row.state == "running":
            self._update_interfaces(row)

    def _forget_end(self, server_id: str, end: _End) -> None:
        """Keeps an end that was reported later."""
        with self._lock:
            if self._ended.get(server_id) is end:
                del self._ended[server_id]

    def _is_of_this_boot(self, row: Instance) -> bool:
        """An end may be reported late, after the server was taken off the host, or even started again."""
        if row.state in ("pending", "stopped"):
            return False
        if row.id in self.machines.running():
            # Perhaps only its monitor has ended. From here on, the server itself is watched.
            self.machines.adopt(row.id)
            return False
        return True

    def _reboot(self, row: Instance) -> None:
        """Off and on again. In between the server is not there, while its row goes on to say `running`, as on EC2."""
        if row.id in self.machines.running():
            self._ask_to_shut_down(row)
            return
        self._end_patience(row.id)
        self._detach(row)
        self.machines.clear(row.id)
        self._bring_up(row)

    def _bring_up(self, row: Instance) -> None:
        self.root_disks.at_rest(row.id)
        with self.database.read() as tx:
            server_spec = self.server_spec(tx, row)
            interfaces = [one for one in _of_server(tx, row.id) if one.attachment != "detaching"]
            subnets = {subnet.id: subnet for subnet in tx.find(Subnet)}
        laps = StepTimes()
        try:
            self.volumes.before_boot(row.id)
            pid = self.machines.create(server_spec.plan, server_spec.seed)
            laps.end("create")
            self.network.sync({one.vpc_id for one in interfaces})
            laps.end("sync")
            for interface in interfaces:
                self.network.attach(interface, subnets[interface.subnet_id], pid)
            laps.end("attach")
            self.volumes.at_boot(row.id, pid)
            self.machines.start(row.id)
            laps.end("start")
        except StoreError:
            self._undo_launch(row)
            raise
        except ComputeError as error:
            log.error("instance %s: launch failed: %s", row.id, error)
            target: State = "stopped" if row.booted else "terminated"
            full = isinstance(error, NoRoomForRoot | NoRoom)
            code = "Server.InsufficientInstanceCapacity" if full else "Server.InternalError"
            self._finish(row, target, code, f"{code}: {error}")
            return
        try:
            self._note_start(row.id, interfaces)
        except StoreError:
            self._undo_launch(row)
            raise
        log.info("instance %s: running (%s)", row.id, laps)

    def _undo_launch(self, row: Instance) -> None:
        """Removes a server that was not reported yet. Its row is unchanged, so that the next step makes it again."""
        self._detach(row)
        self.machines.clear(row.id)

    def _note_start(self, server_id: str, interfaces: Iterable[NetworkInterface]) -> None:
        with self.database.write() as tx:
            current = tx.get(Instance, id=server_id)
            if current is not None and (current.state == "pending" or current.rebooting):
                running = replace(current, state="running", rebooting=False, booted=True)
                tx.save(replace(running, instance_check=None, system_check=None))
            for interface in interfaces:
                settle(tx, interface)
        self.changed()

    def _update_interfaces(self, row: Instance) -> None:
        """Give a server that runs the interfaces and addresses that it is to have, and take those that it is not."""
        with self.database.read() as tx:
            interfaces = [one for one in _of_server(tx, row.id) if one.attachment != "attached"]
            subnets = {subnet.id: subnet for subnet in tx.find(Subnet)}
        pid = self.machines.running().get(row.id) if interfaces else None
        if pid is None:
            # Nothing to do, or its end is about to be reported.
            return
        self.network.sync(())
        act = {"attaching": self.network.attach, "changing": self.network.configure_link}
        for interface in interfaces:
            try:
                if interface.attachment == "detaching":
                    self.network.detach(interface.id)
                else:
                    act[interface.attachment](interface, subnets[interface.subnet_id], pid)
            except ComputeError as error:
                # It stays as it is, and is tried again at the next commit.
                log.error("instance %s: %s %s: %s", row.id, interface.attachment, interface.id, error)
                continue
            with self.database.write() as tx:
                settle(tx, interface)
            log.info("instance %s: %s %s: done", row.id, interface.attachment, interface.id)
        self.network.sync(())

    def _take_down(self, row: Instance, code: int | None) -> Instance:
        """The server is no longer there. Decide what that means, and leave the row in the state that follows."""
        log.info("instance %s: ended with %s while %s", row.id, code, row.state)
        if row.desired == "running" and (code == EXIT_REBOOT or row.rebooting):
            return self._write(row.id, rebooting=True)
        if row.desired == "running":
            ending = as_ended(row, code)
            return self._finish(row, ending.desired, ending.state_reason_code, ending.state_reason)
        return self._finish(row, row.desired)

    def _shut_down(self, row: Instance) -> None:
        if row.id not in self.machines.running():
            if not self._is_held_up(row):
                self._finish(row, row.desired)
            return
        if row.forced:
            self._try(row.id, self.machines.kill)
            return
        self._ask_to_shut_down(row)

    def _ask_to_shut_down(self, row: Instance) -> None:
        """Its end is reported by the watch. The request is repeated; after the grace period the server is killed."""
        now = time.monotonic()
        deadline, due = self._asked.get(row.id, (now + SHUTDOWN_GRACE, now))
        asks = now >= due
        if asks:
            due = now + (min(ASK_AGAIN, deadline - now) if now < deadline else ASK_AGAIN)
            self._asked[row.id] = deadline, due
        self._work.later(row.id, due - now)
        if not asks:
            return
        if now < deadline:
            self._try(row.id, self.machines.request_shutdown)
        else:
            log.info("instance %s: did not shut down in %.0f s, killed", row.id, SHUTDOWN_GRACE)
            self._try(row.id, self.machines.kill)

    def _try(self, server_id: str, act: Callable[[str], None]) -> None:
        try:
            act(server_id)
        except (OSError, ComputeError) as error:
            # It ended between the look and the act; its end is reported by the watch.
            log.info("instance %s: %s", server_id, error)

    def _finish(self, row: Instance, target: str, reason_code: str = "", reason: str = "") -> Instance:
        """Take the server off the host, then say so."""
        self._end_patience(row.id)
        self._detach(row)
        last_words = self.machines.console(row.id)
        self.machines.clear(row.id)
        self.volumes.at_rest(row.id, for_good=target == "terminated")
        if target == "terminated":
            self.root_disks.at_rest(row.id)
            if row.booted:
                try:
                    self.root_disks.keep(row)
                except ComputeError as error:
                    return self._hold_up(row, reason_code, reason, error)
            self.machines.destroy(row.id)
        with self.database.write() as tx:
            current = tx.get(Instance, id=row.id) or row
            if current.desired == "terminated" != target:
                saved = current
            else:
                saved = _note_end(tx, current, target, reason_code, reason)
                if last_words is not None and target == "terminated":
                    tx.add(last_words)
        if saved.state == "shutting-down":
            # A new request came while it was taken off the host.
            return self._finish(saved, "terminated")
        self._pauses.pop(row.id, None)
        log.info("instance %s: %s", row.id, saved.state)
        # Some of its volumes end with it.
        self.volumes.step()
        self.changed()
        # This comes last: it can fail, and the others must learn of the end all the same.
        self.network.sync(())
        return saved

    def _hold_up(self, row: Instance, reason_code: str, reason: str, error: Exception) -> Instance:
        """The server is off, and the instance ends as soon as there is room: it is retried again and again. Until then
        its row says so, because this process may end before, and the row is then the only trace."""
        log.error("instance %s: its root volume could not be kept: %s", row.id, error)
        pause = min(2 * self._pauses[row.id][0], LONGEST_PAUSE) if row.id in self._pauses else FIRST_PAUSE
        self._pauses[row.id] = pause, time.monotonic() + pause
        self._work.later(row.id, pause)
        with self.database.write() as tx:
            current = tx.get(Instance, id=row.id) or row
            saved = replace(
                current,
                desired="terminated",
                state="shutting-down",
                state_reason_code=reason_code or current.state_reason_code,
                state_reason=f"{reason or current.state_reason.partition(_WAITS)[0]}{_WAITS}{error}",
                rebooting=False,
            )
            if saved != current:
                tx.save(saved)
        if saved.state != row.state:
            self.changed()
        return saved

    def _is_held_up(self, row: Instance) -> bool:
        """Whether it is too early to try again. False if the root volume need not be kept any more."""
        _, until = self._pauses.get(row.id, (0.0, 0.0))
        left = until - time.monotonic()
        if left <= 0:
            return False
        with self.database.read() as tx:
            kept = tx.get(Volume, instance_id=row.id, root=True, delete_on_termination=False)
        if kept is not None:
            self._work.later(row.id, left)
        return kept is not None

    def _detach(self, row: Instance) -> None:
        with self.database.read() as tx:
            interfaces = tx.find(NetworkInterface, instance_id=row.id)
        for interface in interfaces:
            self.network.detach(interface.id)

    def _end_patience(self, server_id: str) -> None:
        self._work.not_later(server_id)
        self._asked.pop(server_id, None)

    def _write(self, server_id: str, *, rebooting: bool) -> Instance:
        with self.database.write() as tx:
            current = tx.get(Instance, id=server_id)
            assert current is not None
            saved = replace(current, rebooting=rebooting)
            tx.save(saved)
        return saved


def _note_end(tx: Tx, row: Instance, target: str, reason_code: str, reason: str) -> Instance:
    for interface in tx.find(NetworkInterface, instance_id=row.id):
        release(tx, interface, terminated=target == "terminated")
    saved = replace(
        row,
        desired="terminated" if target == "terminated" else "stopped",
        state="terminated" if target == "terminated" else "stopped",
        state_reason_code=reason_code or row.state_reason_code,
        state_reason=reason or row.state_reason.partition(_WAITS)[0],
        ended=tx.now,
        rebooting=False,
        forced=False,
    )
    tx.save(saved)
    return saved


class _End:
    """One end of a server's init, with its code. Two ends with the same code are not equal."""

    def __init__(self, code: int | None) -> None:
        self.code = code


def as_ended(row: Instance, code: int | None) -> Instance:
    """The row of an ended server that has not been cleaned up yet. A reboot is not an end."""
    if row.desired != "running" or row.rebooting or code == EXIT_REBOOT:
        return row
    reason_code, reason = _why_it_ended(code)
    terminates = row.shutdown_behavior == "terminate"
    return replace(
        row,
        state="shutting-down" if terminates else "stopping",
        desired="terminated" if terminates else "stopped",
        state_reason_code=reason_code,
        state_reason=reason,
    )


def _why_it_ended(code: int | None) -> tuple[str, str]:
    """State reasons as DescribeInstances documents them (StateReason)."""
    if code is None:
        return "Server.ScheduledStop", "Server.ScheduledStop: The host was restarted, or the cloud was taken down"
    if code == EXIT_POWEROFF:
        return "Client.InstanceInitiatedShutdown", "Client.InstanceInitiatedShutdown: Instance initiated shutdown"
    return "Server.InternalError", f"Server.InternalError: The server's init ended with status {code}"


def _of_server(tx: Tx, server_id: str) -> list[NetworkInterface]:
    return sorted(tx.find(NetworkInterface, instance_id=server_id), key=lambda one: one.index)


def settle(tx: Tx, interface: NetworkInterface) -> None:
    """Writes down that the server has this interface, or has lost it, unless the row has been changed by now."""
    current = tx.get(NetworkInterface, id=interface.id)
    if current is None or interface.attachment == "attached":
        return
    if (current.attachment_id, current.attachment) != (interface.attachment_id, interface.attachment):
        return
    if interface.attachment == "detaching":
        tx.save(_without_ec2s(tx, current).without_server())
        return
    applied = [one.private_ip for one in current.addresses] == [one.private_ip for one in interface.addresses]
    tx.save(replace(current, attachment="attached" if applied else "changing"))


def release(tx: Tx, interface: NetworkInterface, *, terminated: bool) -> None:
    """An Elastic IP stays with its interface, and with the account when the interface goes."""
    if terminated and interface.delete_on_termination:
        remove_interface(tx, interface)
        return
    kept = _without_ec2s(tx, interface)
    if terminated or interface.attachment == "detaching":
        tx.save(kept.without_server())
    else:
        tx.save(replace(kept, attachment="attached"))


def _without_ec2s(tx: Tx, interface: NetworkInterface) -> NetworkInterface:
    """The interface without its public address, unless that is an Elastic IP."""
    elastic = elastic_ip(tx, interface.id, interface.private_ip)
    return replace(interface, public_ip=elastic.public_ip if elastic else None)
