"""The wiring diagram: what wire, services, store, loops and compute are given of each other. Start reading here.

bytes -> wire -> Dispatcher.perform -> services -> store       answers
store -> loops -> compute -> the kernel                  makes them true
compute -> loops -> store                                says what became of it

Where two rooms meet in more than a line, that is a file in wiring/.
"""

from __future__ import annotations

import argparse
import asyncio
import ctypes
import gc
import logging
import os
import resource
import signal
import socket
import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from skylift.catalogue import types
from skylift.cloud.compute.disk.disk import remove_unfinished
from skylift.cloud.compute.disk.mount_into import mount_into, unmount_from
from skylift.cloud.compute.disk.removal import NotRemoved, Removal
from skylift.cloud.compute.image.image_from_disk import Captures
from skylift.cloud.compute.leftover import await_leftovers
from skylift.cloud.compute.network.error import NetworkError
from skylift.cloud.compute.network.metadata import MetadataService
from skylift.cloud.compute.network.network import CloudNetwork, loopback_ranges
from skylift.cloud.compute.server.answering import why_silent
from skylift.cloud.compute.server.destinations import destinations
from skylift.cloud.compute.server.inheritance import BUNDLE
from skylift.cloud.compute.server.lxcfs import Sizes
from skylift.cloud.compute.server.rootfs import RootfsError
from skylift.cloud.compute.server.seccomp import ProfileMissing
from skylift.cloud.compute.server.seed_files import Inheritance
from skylift.cloud.compute.server.server import ServerError, Servers
from skylift.cloud.domain.instance import Console
from skylift.cloud.domain.upstream import FORWARDER
from skylift.cloud.loops.adoption import Adoption
from skylift.cloud.loops.cloudwatch.alarm import AlarmLoop
from skylift.cloud.loops.cloudwatch.metering import Metering
from skylift.cloud.loops.ebs.root_copy import RootCopies
from skylift.cloud.loops.ebs.server_pause import ServerPauses
from skylift.cloud.loops.ebs.snapshot import SnapshotLoop
from skylift.cloud.loops.ebs.volume import Mounts, VolumeLoop
from skylift.cloud.loops.ebs.volume_locks import VolumeLocks
from skylift.cloud.loops.ec2.image import ImageLoop
from skylift.cloud.loops.ec2.instance import InstanceLoop, RootDisks, ServerNetwork
from skylift.cloud.loops.ec2.server_spec import CloudSettings, LaunchSpecBuilder
from skylift.cloud.loops.ec2.status_check import Looks, StatusChecks
from skylift.cloud.loops.engine import Engine
from skylift.cloud.loops.market.fleet import FleetLoop
from skylift.cloud.loops.market.spot import SpotLoop
from skylift.cloud.loops.removal import RemovalLoop
from skylift.cloud.loops.s3.lifecycle import LifecycleLoop
from skylift.cloud.loops.ssm.command import CommandLoop
from skylift.cloud.loops.ticker import Ticker
from skylift.cloud.loops.vpc.network import NetworkLoop
from skylift.cloud.process.cannot_start import USAGE, CannotStart
from skylift.cloud.process.listening import listen_for_tls, listen_on_loopback
from skylift.cloud.process.lock import hold
from skylift.cloud.process.log import log_to
from skylift.cloud.process.notify import notify
from skylift.cloud.process.sealed import seal
from skylift.cloud.process.step_times import StepTimes, process_began
from skylift.cloud.services.api.zone import zone_id
from skylift.cloud.services.ec2.identity_document import DocumentSigner
from skylift.cloud.services.market import fleet_upkeep
from skylift.cloud.services.s3 import lifecycle_upkeep
from skylift.cloud.state.data import Endpoint
from skylift.cloud.state.home import Home
from skylift.cloud.state.program import programs_path
from skylift.cloud.store.database import Database, StoreError
from skylift.cloud.wire.endpoint import AwsEndpoint, keep_models, load_models
from skylift.cloud.wire.forwarder import forward
from skylift.cloud.wire.sender import Senders
from skylift.cloud.wire.transition_wait import TransitionWait
from skylift.cloud.wiring import alarm_action, paths
from skylift.cloud.wiring.bootstrap import DEFAULT_REGION, allowed_openings, bootstrap, open_database, preferred_net
from skylift.cloud.wiring.command import make_commands
from skylift.cloud.wiring.dispatcher import Dispatcher
from skylift.cloud.wiring.firewall_exceptions import FirewallExceptions
from skylift.cloud.wiring.host_keys import host_keys
from skylift.cloud.wiring.link_local import LinkLocalServices
from skylift.cloud.wiring.queries import Queries
from skylift.cloud.wiring.reconcile_on_start import (
    account_for_ended_servers,
    keep_boot,
    keep_last_seen,
    machine_went_off,
    note_ended_servers,
    this_boot,
)
from skylift.cloud.wiring.scaling_group import make_groups
from skylift.cloud.wiring.schedule import make_schedules
from skylift.cloud.wiring.spot import SpotMarketRules
from skylift.cloud.wiring.teardown import shut_servers_down, take_down
from skylift.version import __version__

log = logging.getLogger("skylift.cloud")

MOST_FILES = 1 << 20
M_ARENA_MAX = -8
"""The number in malloc.h."""

PATIENCE = 5.0
"""Seconds that the first start after a boot of the machine waits for the end of what ran before it."""

FAILURE = 125
"""The exit code if skylift or the machine failed."""


def _each(*acts: Callable[[], None]) -> None:
    for act in acts:
        act()


def _seen_as(host_address: str, source: str) -> str:
    """A client on the host itself is who servers see when the host talks to them."""
    return host_address if source.startswith("127.") else source


def _forward(inheritance: Inheritance, network: CloudNetwork, senders: Senders) -> None:
    bundle, sender = inheritance.files.get(BUNDLE), partial(senders.of, FORWARDER)
    try:
        forward(inheritance.upstreams, network.listen_for_all, bundle.decode() if bundle else None, sender)
    except (NetworkError, OSError) as error:
        log.error("servers cannot reach the indexes and proxies that have passwords: %s", error)


@dataclass(frozen=True)
class _Parts:
    """The parts that run once a cloud answers, wired together and not started."""

    engine: Engine
    upkeep: Engine
    ticker: Ticker
    adoption: Adoption
    first_start: bool
    openings: FirewallExceptions
    instances: InstanceLoop
    volumes: VolumeLoop
    snapshots: SnapshotLoop
    images: ImageLoop
    commands: CommandLoop
    removals: RemovalLoop
    link_local: LinkLocalServices

    def begin_at_once(self) -> None:
        """A first look at servers, and the time that it takes to boot those that ran before."""
        self.instances.step()
        self.instances.wait_until_idle(PATIENCE)

    async def stop(self, adopting: asyncio.Task[None] | None, last: Callable[[], None]) -> None:
        """Stop the parts in this order: each before the parts that it starts. In `last` nothing is done any more about
        what becomes of servers, and they are still answered."""
        self.adoption.stop()
        await asyncio.to_thread(self.openings.stop)
        if adopting is not None:
            await asyncio.wait((adopting,))
        await asyncio.to_thread(self.ticker.stop)
        await asyncio.to_thread(self.engine.stop)
        await asyncio.to_thread(self.upkeep.stop)
        for loop in (self.commands, self.instances, self.volumes, self.snapshots, self.images, self.removals):
            await asyncio.to_thread(loop.close)
        await asyncio.to_thread(last)
        await self.link_local.close()


class Cloud:
    """One running cloud, put together from the outside in: a part that cannot start leaves nothing behind it."""

    def __init__(self, home: Home, port: int | None, region: str | None, allow: Sequence[str] | None = None) -> None:
        self._home = home
        self._data = home.data
        self._port = port
        self._wanted_region = region
        self._wanted_openings = allow

    async def run(self, ready: Callable[[], None]) -> None:
        """Serve until SIGTERM or SIGINT. Servers go on after that: the next process adopts them. SIGPWR says that the
        machine goes off: servers are shut down first, and the next process starts them again."""
        self._laps = laps = StepTimes(process_began())
        laps.end("modules")
        with ExitStack() as stack:
            stack.enter_context(hold(self._home))
            # Before the database, which needs room for its first change.
            remove_unfinished(self._data.volumes, self._data.snapshots)
            # It is no use without them, and the first steps wait for the disk and the kernel.
            models = asyncio.ensure_future(asyncio.to_thread(load_models, self._data.models))
            listener = stack.enter_context(listen_on_loopback(self._data, self._port))
            self._tls = stack.enter_context(listen_for_tls(self._data))
            database = stack.enter_context(open_database(self._data, self._console))
            laps.end("database")
            self._allowed = allowed = allowed_openings(database, self._wanted_openings)
            loopback = loopback_ranges().take(self._home.path, preferred_net(database))
            network = CloudNetwork(loopback, allowed)
            network.open()
            stack.callback(network.release)
            laps.end("network")
            self._servers = servers = paths.make_servers(self._data, loopback, self._ended, host_keys)
            stack.callback(servers.close)
            account, region = bootstrap(database, self._home, self._wanted_region, loopback, listener, allowed)
            self._region = region
            laps.end("account")
            await models
            laps.end("models")
            await self._serve(database, network, servers, account, listener, ready)

    async def _serve(
        self,
        database: Database,
        network: CloudNetwork,
        servers: Servers,
        account: str,
        listener: socket.socket,
        ready: Callable[[], None],
    ) -> None:
        stop = asyncio.Event()
        last: list[Callable[[], None]] = []

        def go_off() -> None:
            last.append(partial(shut_servers_down, database, servers))
            stop.set()

        for number, act in ((signal.SIGTERM, stop.set), (signal.SIGINT, stop.set), (signal.SIGPWR, go_off)):
            asyncio.get_running_loop().add_signal_handler(number, act)
        engine = Engine()
        api = await self._answer(database, network, account, engine, listener, servers)
        sizes = await asyncio.to_thread(Sizes, paths.lxcfs_at(network.loopback))
        settings = await asyncio.to_thread(
            paths.make_settings, self._data, sizes, network.loopback, account, self._region
        )
        parts = self._put_together(database, network, servers, account, api, engine, settings, sizes)
        self._instances = parts.instances
        adopting: asyncio.Task[None] | None = None
        try:
            await asyncio.to_thread(parts.openings.start)
            await asyncio.to_thread(_forward, settings.inheritance, network, api.senders)
            seal()
            stopping = asyncio.create_task(stop.wait())
            if parts.first_start:
                # No server runs, so the start can wait: the caller hears what this kernel cannot do, and servers that
                # ran before `cloud down` can start at once.
                adopting = asyncio.create_task(asyncio.to_thread(parts.adoption.run))
                await asyncio.wait((adopting, stopping), return_when=asyncio.FIRST_COMPLETED)
                if adopting.done():
                    await adopting
                    await asyncio.to_thread(parts.begin_at_once)
            await asyncio.to_thread(self._announce, account, listener, network)
            self._laps.end("ready")
            log.info("started: %s", self._laps)
            gc.freeze()
            gc.enable()
            adopting = adopting or asyncio.create_task(asyncio.to_thread(parts.adoption.run))
            ready()
            await asyncio.wait((adopting, stopping), return_when=asyncio.FIRST_COMPLETED)
            if not stopping.done():
                await adopting
                await stopping
        finally:
            await parts.stop(adopting, partial(_each, *last[:1]))
            await api.stop()

    async def _answer(
        self,
        database: Database,
        network: CloudNetwork,
        account: str,
        engine: Engine,
        listener: socket.socket,
        servers: Servers,
    ) -> AwsEndpoint:
        """The endpoint, which answers from here on by what is in the store. The rest of the start must not keep the
        event loop from it.
        """
        dispatcher = Dispatcher(database, account, self._region, engine.wake)
        settling = TransitionWait(dispatcher.unsettled)
        database.when_changed(settling.changed)
        api = AwsEndpoint(
            region=self._region,
            spool=self._data.objects,
            objects=self._data.objects,
            secret_for=dispatcher.secret_for,
            perform=dispatcher.perform,
            seen_as=partial(_seen_as, str(network.loopback.host_address)),
            cors=dispatcher.cors,
            settling=settling,
        )
        await api.start()
        note_ended_servers(database, servers, self._data, went_off=machine_went_off(self._data, this_boot()))
        await api.add_socket(listener)
        if self._tls is not None:
            await api.add_socket(*self._tls)
        self._laps.end("endpoint")
        return api

    def _put_together(
        self,
        database: Database,
        network: CloudNetwork,
        servers: Servers,
        account: str,
        api: AwsEndpoint,
        engine: Engine,
        settings: CloudSettings,
        sizes: Sizes,
    ) -> _Parts:
        """The loops and what they drive. Nothing of them runs yet."""
        destined = destinations(settings.inheritance)
        openings = FirewallExceptions(self._allowed, destined, network.close_off, self._data.write_open_now)
        spec_builder = LaunchSpecBuilder(settings, lambda name: types()[name], zone_id)
        queries = Queries(database, spec_builder, self._region)
        signer = DocumentSigner(database, self._home, account)
        link_local = LinkLocalServices(network, api, MetadataService(queries.facts_for, signer.sign), queries)
        networks = NetworkLoop(database, network, link_local.follow, engine.wake_in)
        captures = Captures(self._data.captures, paths.RUN / str(network.loopback.number) / "scratch")
        disks = paths.make_disks(self._data, network.loopback)
        images = ImageLoop(database, captures, disks.snapshot)
        pauses = ServerPauses(servers)
        locks = VolumeLocks()
        roots = RootCopies(database, disks, captures, pauses, locks.of)
        snapshots = SnapshotLoop(
            database=database,
            disks=disks,
            lock_of=locks.of,
            pauses=pauses,
            root_of=roots.make,
            tidy=images.tidy,
            settled=images.look_at,
        )
        mounts = Mounts(mount_into, unmount_from)
        volumes = VolumeLoop(database, disks, servers, mounts, pauses, locks, snapshots.last_looks)
        instances = InstanceLoop(
            database=database,
            machines=servers,
            network=ServerNetwork(networks.sync, network.attach, network.detach, network.configure_link),
            root_disks=RootDisks(snapshots.at_rest, roots.keep),
            volumes=volumes,
            server_spec=spec_builder.server_spec,
            changed=engine.wake,
        )
        # The last one has clouds that were erased.
        removals = RemovalLoop((self._data.instances, self._data.captures, self._data.path.parent), Removal)
        fleets = FleetLoop(database, fleet_upkeep.keep, fleet_upkeep.survey, fleet_upkeep.mark, engine.wake_in)
        spot = SpotLoop(database, SpotMarketRules(account, self._region), engine.wake, engine.wake_in)
        ticker = Ticker()
        meter = paths.make_meter(network.loopback)
        looks = Looks(meter.first_process, why_silent, sizes.show, networks.amiss, network.attached)
        checks = StatusChecks(database, looks, engine.wake)
        metering = Metering(database, meter.read, partial(paths.size_of, settings))
        alarms = AlarmLoop(database, alarm_action.carry_out, engine.wake)
        # In this order: alarms are evaluated by what has just been measured, and that has what the checks have found.
        ticker.steps = (networks.look, checks.step, metering.step, alarms.step, return_memory)
        groups = make_groups(database, account, self._region, engine.wake_in)
        schedules = make_schedules(database, account, self._region, engine.wake_in)
        commands = make_commands(database, servers, self._region, engine.wake, engine.wake_in)
        # What takes long where somebody has left much, and what nobody waits for.
        upkeep = Engine("upkeep")
        upkeep.steps = (LifecycleLoop(database, lifecycle_upkeep, upkeep.wake_in).step,)
        upkeep.chores = (queries.forget, queries.shrink, self._data.seen.touch)
        # Schedules, alarms, market, fleets and groups first: they say which servers there are to be. Then servers: each
        # sees to its network itself once it is made, which takes longer than the network.
        wishes = (schedules.step, alarms.act, spot.step, fleets.step, groups.step)
        made = (instances.step, volumes.step, snapshots.step, images.step, networks.step)
        engine.steps = (*wishes, *made, commands.step, removals.step, upkeep.wake)
        adoption, first_start = Adoption(), not paths.been_up(network.loopback).exists()
        # In this order: nothing is looked at while an earlier process's programs still change it, what has ended is
        # accounted for before it is cleared away, and nothing boots before volumes are adopted and names are open.
        adoption.steps = (
            ("networks", networks.step if first_start else networks.sync),
            (
                "leftovers",
                partial(await_leftovers, paths.work_directories(self._data, network.loopback), adoption.stopped),
            ),
            ("disks", partial(_each, captures.sweep, disks.sweep)),
            ("usage", partial(account_for_ended_servers, database, servers, self._data)),
            ("servers", partial(instances.adopt, adoption.stopped)),
            ("volumes", volumes.adopt),
            ("files", partial(_each, images.tidy, snapshots.clean_up, self._keep_models)),
            ("names", openings.await_names),
            ("loops", partial(_each, engine.start, upkeep.start, ticker.start, paths.been_up(network.loopback).touch)),
        )
        return _Parts(
            *(engine, upkeep, ticker, adoption, first_start, openings, instances, volumes, snapshots, images, commands),
            *(removals, link_local),
        )

    def _console(self, instance_id: str) -> Console | None:
        """The current console output of a server; None if there is no server."""
        return self._servers.console(instance_id)

    def _keep_models(self) -> None:
        try:
            keep_models(self._data.models)
        except OSError as error:
            log.warning("the next start takes longer: %s: %s", self._data.models, error.strerror)

    def _ended(self, instance_id: str, code: int | None) -> None:
        self._instances.ended(instance_id, code)

    def _announce(self, account: str, listener: socket.socket, network: CloudNetwork) -> None:
        # In this order: the directory is synced with the last.
        keep_last_seen(self._data)
        keep_boot(self._data, this_boot())
        self._data.down_mark.unlink(missing_ok=True)
        host, port = listener.getsockname()
        tls_url = "https://{}:{}".format(*self._tls[0].getsockname()) if self._tls is not None else ""
        self._data.write_endpoint(
            Endpoint(
                url=f"http://{host}:{port}",
                region=self._region,
                account=account,
                pid=os.getpid(),
                version=__version__,
                loopback=str(network.loopback.host_address),
                tls_url=tls_url,
                no_way_out=network.pasta_problem or "",
            )
        )


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m skylift.cloud", description=__doc__)
    parser.add_argument("--home", type=Path, required=True, help="state directory")
    parser.add_argument("--port", type=int, help="of the endpoint on 127.0.0.1")
    parser.add_argument("--region", default=None, help=f"of a new cloud (default {DEFAULT_REGION})")
    parser.add_argument("--allow", action="append", default=None, help="an opening to a network around this machine")
    parser.add_argument("--ready-fd", type=int, help="descriptor to write `ready` to, or `CODE MESSAGE`")
    parser.add_argument("--down", action="store_true", help="take everything off this machine instead")
    parser.add_argument("--erase", action="store_true", help="with --down: delete the data directory, too")
    chosen = parser.parse_args(arguments)
    os.environ["PATH"] = programs_path()
    home = Home(chosen.home)
    # Servers' files are made for their own users. sudo leaves a stricter umask of the user's as it is.
    os.umask(0o022)
    open_many_files()
    share_memory()
    log_to(home.data.log, reader=home.owner.uid, journal="NOTIFY_SOCKET" in os.environ)

    def answer(line: str) -> None:
        notify("READY=1" if line == "ready" else f"STATUS={line}")
        if chosen.ready_fd is not None:
            # The process that started the cloud may have ended; the cloud goes on all the same.
            with suppress(BrokenPipeError):
                os.write(chosen.ready_fd, f"{line}\n".encode())
            os.close(chosen.ready_fd)
            chosen.ready_fd = None

    try:
        if chosen.down:
            take_down(home, erase=chosen.erase)
        else:
            asyncio.run(Cloud(home, chosen.port, chosen.region, chosen.allow).run(lambda: answer("ready")))
    except CannotStart as error:
        return _refuse(error, USAGE, answer)
    except (ServerError, RootfsError, NotRemoved, NetworkError, ProfileMissing, StoreError) as error:
        return _refuse(error, FAILURE, answer)
    return 0


def open_many_files() -> None:
    """Raise the limit of descriptors as far as allowed: a shell gives 1,024, and each connection takes one."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MOST_FILES if hard == resource.RLIM_INFINITY else min(hard, MOST_FILES)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wanted), hard))


def share_memory() -> None:
    """One arena for all threads, of which there are dozens: glibc has up to eight a processor, and each keeps the most
    that it ever held. Threads hardly wait for each other there, as Python's own lock is held for most of it.

    Before there are threads. Other C libraries have no arenas.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(M_ARENA_MAX, 1)


def return_memory() -> None:
    """Give what is free in the heap back to the kernel. glibc by itself gives back only what is free at the heap's end,
    so that one small piece behind a large answer keeps all of it: a cloud grew with each burst of requests.

    Other C libraries see to it themselves.
    """
    malloc_trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if malloc_trim is not None:
        malloc_trim(0)


def _refuse(error: Exception, code: int, answer: Callable[[str], None]) -> int:
    log.error("%s", error)
    answer(f"{code} {' '.join(str(error).split())}")
    return code


if __name__ == "__main__":
    sys.exit(main())
