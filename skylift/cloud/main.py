"""The wiring diagram: the only file that joins wire, services, store, loops and compute. Start reading here.

bytes -> wire -> Desk.perform -> services -> store       answers
store -> loops -> compute -> the kernel                  makes them true
compute -> loops -> store                                says what became of it
"""

from __future__ import annotations

import argparse
import asyncio
import fcntl
import logging
import os
import secrets
import signal
import socket
import ssl
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from skylift import __version__
from skylift.cloud.compute import cgroup
from skylift.cloud.compute.capture import CaptureFailed, Captures
from skylift.cloud.compute.claim import WAY_OUT_UIDS, Claim
from skylift.cloud.compute.disk import DiskError, Disks
from skylift.cloud.compute.firewall import DNS, ENDPOINT, METADATA, dns_address
from skylift.cloud.compute.image import built_images
from skylift.cloud.compute.inherit import inherited
from skylift.cloud.compute.leftover import await_leftovers
from skylift.cloud.compute.metadata import InstanceFacts, MetadataService, RoleCredentials
from skylift.cloud.compute.network import Network, claims, sweep
from skylift.cloud.compute.network_error import NetworkError
from skylift.cloud.compute.oci import LXCFS
from skylift.cloud.compute.plug import plug, unplug
from skylift.cloud.compute.resolver import HostNames, Names, Resolver, Serving, serve
from skylift.cloud.compute.rootfs import RootfsError, is_mounted
from skylift.cloud.compute.seccomp import ProfileMissing
from skylift.cloud.compute.server import ServerError, Servers, find_programs
from skylift.cloud.compute.subid import granted
from skylift.cloud.durable import make_directory, sync_directory
from skylift.cloud.error import ServiceError, no_room
from skylift.cloud.facts import CloudFacts
from skylift.cloud.home import DEFAULT_PORT, DEFAULT_TLS_PORT, Endpoint, Home, RootKey
from skylift.cloud.identity import AccessKey, Caller
from skylift.cloud.instance import Console, Image
from skylift.cloud.log import CappedLog
from skylift.cloud.loops import names
from skylift.cloud.loops.blueprint import Draughtsman, Site
from skylift.cloud.loops.engine import Engine
from skylift.cloud.loops.hold import Hold
from skylift.cloud.loops.image import ImageLoop
from skylift.cloud.loops.instance import SHUTDOWN_GRACE, Cables, InstanceLoop
from skylift.cloud.loops.network import NetworkLoop
from skylift.cloud.loops.root_copy import RootCopies
from skylift.cloud.loops.snapshot import SnapshotLoop
from skylift.cloud.loops.volume import Sockets, VolumeLoop
from skylift.cloud.network import Vpc
from skylift.cloud.services import cors, facts, identity
from skylift.cloud.services.authorize import authorize
from skylift.cloud.services.identity_document import Notary
from skylift.cloud.services.image import register_image
from skylift.cloud.services.instance import forget_terminated
from skylift.cloud.services.instance_type import catalogue
from skylift.cloud.services.nat_gateway import forget_deleted
from skylift.cloud.services.peering import forget_ended
from skylift.cloud.services.table import TABLE
from skylift.cloud.services.vpc import make_default_vpc
from skylift.cloud.services.zone import zone_id
from skylift.cloud.store.content import sweep_files
from skylift.cloud.store.database import Database, DiskFull, StoreError, Tx
from skylift.cloud.wire import checksum
from skylift.cloud.wire.call import Call, Request, Response
from skylift.cloud.wire.endpoint import AwsEndpoint
from skylift.cloud.wire.server import HttpServer, blocking

log = logging.getLogger("skylift.cloud")

DEFAULT_REGION = "us-east-1"
USAGE, FAILURE = 2, 125
GIB = 1 << 30
IMAGE_GIB = 8
"""The size of the images that the provided one stands in for."""
RUN = Path("/run/skylift")


class CannotStart(Exception):
    """The cloud cannot run here; the message says why and what to do. `code` is the exit code."""

    def __init__(self, message: str, code: int = USAGE) -> None:
        super().__init__(message)
        self.code = code


class Desk:
    """Where requests are dealt with: who is calling, may they, and what is the answer."""

    def __init__(self, database: Database, account: str, region: str, wake: Callable[[], None]) -> None:
        self._database = database
        self._account = account
        self._region = region
        self._wake = wake

    def secret_for(self, access_key_id: str, session_token: str | None) -> str:
        with self._database.read() as tx:
            return identity.secret_for(tx, access_key_id, session_token)

    def cors(self, bucket: str, origin: str, method: str, headers: Sequence[str]) -> dict[str, str] | None:
        """What a bucket allows a browser's page, before anybody is authenticated."""
        with self._database.read() as tx:
            return cors.allowed(tx, bucket, origin, method, headers)

    def perform(self, call: Call) -> dict[str, Any]:
        try:
            return self._perform(call)
        except DiskFull as error:
            raise no_room() from error

    def _perform(self, call: Call) -> dict[str, Any]:
        """Authenticate, refuse what would be ignored, authorise, and only then open the transaction that acts."""
        operation = TABLE.get((call.service, call.operation))
        if operation is None:
            raise _not_here(call, f"The operation {call.operation} is not supported by skylift's embedded EC2.")
        caller = self._authenticated(call)
        with self._database.read() as tx:
            if unsupported := operation.unsupported(call.params):
                names = ", ".join(unsupported)
                raise _not_here(call, f"{call.operation} in skylift's embedded EC2 does not support: {names}.")
            authorize(tx, caller, operation.checks(tx, caller, call.params), service=call.service)
            if not operation.writes:
                return operation.handler(tx, caller, call.params)
            params = operation.prepared(tx, caller, call.params)
        with self._database.write() as tx:
            result = operation.handler(tx, caller, params)
        if call.service == "ec2":
            # All that the loops make true.
            self._wake()
        return result

    def _authenticated(self, call: Call) -> Caller:
        """Who is calling; a user's key has its use written down, whatever the request will come to."""
        with self._database.read() as tx:
            caller = identity.authenticate(
                tx,
                call.credential.access_key_id,
                call.credential.session_token,
                service=call.service,
                source_ip=call.source_ip,
                request_id=call.request_id,
                account=self._account,
                region=self._region,
                user_agent=call.user_agent,
                referer=call.referer,
                secure=call.secure,
                tls_version=call.tls_version,
                signature=call.signature,
            )
            unnoted = identity.use_is_news(tx, caller)
        if unnoted:
            # On a full disk one can still look.
            with suppress(DiskFull), self._database.write() as tx:
                identity.note_use(tx, caller, call.service)
        return caller


def _seen_as(host_address: str, source: str) -> str:
    """A client on the host itself is who servers see when the host talks to them."""
    return host_address if source.startswith("127.") else source


def _not_here(call: Call, message: str) -> ServiceError:
    code = {"ec2": "UnsupportedOperation", "s3": "NotImplemented"}.get(call.service, "InvalidAction")
    return ServiceError(code, message, status=501 if call.service == "s3" else 400)


@dataclass(frozen=True)
class _Station:
    """What serves one VPC."""

    sockets: tuple[socket.socket, ...]
    metadata: HttpServer
    names: Serving


class Stations:
    """What servers reach at link-local addresses of their VPC: metadata, names and the AWS endpoint."""

    def __init__(
        self,
        network: Network,
        api: AwsEndpoint,
        metadata: MetadataService,
        names: Names,
    ) -> None:
        self._network = network
        self._api = api
        self._metadata = metadata
        self._names = names
        self._loop = asyncio.get_running_loop()
        self._host_names = HostNames()
        self._open: dict[str, _Station] = {}

    def follow(self, vpcs: dict[str, Vpc]) -> None:
        """Be there in exactly these VPCs. Called from the loops' threads; returns once servers can reach it."""
        asyncio.run_coroutine_threadsafe(self._follow(vpcs), self._loop).result()

    async def _follow(self, vpcs: dict[str, Vpc]) -> None:
        for vpc_id in self._open.keys() - vpcs.keys():
            await self._close(self._open.pop(vpc_id))
        for vpc_id in vpcs.keys() - self._open.keys():
            self._open[vpc_id] = await self._start(vpcs[vpc_id])

    async def _start(self, vpc: Vpc) -> _Station:
        listen = self._network.listen
        endpoint = listen(vpc.id, ENDPOINT, 80)
        await self._api.add_socket(endpoint)
        metadata = HttpServer(blocking(partial(self._answer_metadata, vpc.id)))
        await metadata.add_socket(listen(vpc.id, METADATA, 80))
        resolver = Resolver(vpc.id, self._names, self._host_names)
        ears = [
            listen(vpc.id, address, 53, kind) for address in (DNS, str(dns_address(vpc))) for kind in ("udp", "tcp")
        ]
        return _Station((endpoint,), metadata, await serve(resolver, ears))

    async def close(self) -> None:
        await self._follow({})

    async def _close(self, station: _Station) -> None:
        for one in station.sockets:
            await self._api.remove_socket(one)
        await station.metadata.stop(grace=0)
        station.names.close()

    def _answer_metadata(self, vpc_id: str, request: Request) -> Response:
        headers = {name: values[0] for name, values in request.headers_by_name.items()}
        answer = self._metadata.answer(request.method, request.path, headers, vpc_id, request.source_ip)
        return Response(answer.status, answer.headers, answer.body, answer.hops)


class Cloud:
    """One running cloud, put together from the outside in: a part that cannot start leaves nothing behind it."""

    def __init__(self, home: Home, port: int | None, region: str | None) -> None:
        self._home = home
        self._port = port
        self._wanted_region = region

    async def run(self, ready: Callable[[], None]) -> None:
        """Serve until SIGTERM or SIGINT. Servers go on after that: the next process adopts them."""
        with ExitStack() as stack:
            stack.enter_context(hold(self._home))
            listener = stack.enter_context(listen_on_loopback(self._home, self._port))
            self._tls = stack.enter_context(listen_for_tls(self._home))
            database = stack.enter_context(open_database(self._home, self._console))
            claim = claims().claim(self._home.path, preferred_net(database))
            await_leftovers(places_of_work(self._home, claim))
            network = Network(claim)
            network.open()
            stack.callback(network.release)
            self._servers = servers = make_servers(self._home, claim, self._ended)
            stack.callback(servers.close)
            account, region = first_facts(database, self._home, self._wanted_region, claim, listener)
            self._region = region
            await self._serve(stack, database, network, servers, account, listener, ready)

    async def _serve(
        self,
        stack: ExitStack,
        database: Database,
        network: Network,
        servers: Servers,
        account: str,
        listener: socket.socket,
        ready: Callable[[], None],
    ) -> None:
        engine = Engine()
        desk = Desk(database, account, self._region, engine.wake)
        api = AwsEndpoint(
            region=self._region,
            spool=self._home.objects,
            objects=self._home.objects,
            secret_for=desk.secret_for,
            perform=desk.perform,
            seen_as=partial(_seen_as, str(network.claim.host_address)),
            cors=desk.cors,
        )
        await api.start()
        site = make_site(self._home, network.claim, account, self._region)
        draughtsman = Draughtsman(site, lambda name: catalogue()[name], zone_id)
        records = Records(database, draughtsman, self._region)
        notary = Notary(database, self._home, account)
        stations = Stations(network, api, MetadataService(records.facts_for, notary.vouch), records)
        networks = NetworkLoop(database, network, stations.follow)
        captures = Captures(self._home.captures, RUN / str(network.claim.number) / "scratch")
        disks = make_disks(self._home, network.claim)
        images = ImageLoop(database, captures, disks.snapshot, (CaptureFailed,))
        hold = Hold(servers, (ServerError,))
        volumes = VolumeLoop(database, disks, servers, Sockets(plug, unplug), hold, (ServerError,))
        roots = RootCopies(database, disks, captures, self._home.instances, hold, volumes.of)
        snapshots = SnapshotLoop(
            database=database,
            disks=disks,
            lock_of=volumes.of,
            hold=hold,
            root_of=roots.make,
            tidy=images.tidy,
            settled=images.look_at,
            failures=(ServerError, CaptureFailed, DiskError),
        )
        volumes.last_looks = snapshots.last_looks
        self._instances = instances = InstanceLoop(
            database=database,
            machines=servers,
            cables=Cables(network.attach, network.detach, network.dress),
            sync_network=networks.step,
            blueprint=draughtsman.blueprint,
            failures=(ServerError, RootfsError, NetworkError, DiskError, CaptureFailed),
            at_rest=snapshots.at_rest,
            keep=roots.keep,
            volumes=volumes,
        )
        # Servers first: each sees to its network itself once it is made, which takes longer than the network.
        engine.steps = (instances.step, volumes.step, snapshots.step, images.step, networks.step)
        engine.chores = (records.forget, network.restore_way_out)
        stop = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
        await api.add_socket(listener)
        if self._tls is not None:
            await api.add_socket(*self._tls)
        await asyncio.to_thread(networks.step)
        await asyncio.to_thread(captures.sweep)
        await asyncio.to_thread(disks.sweep)
        await asyncio.to_thread(instances.adopt)
        images.tidy()
        await asyncio.to_thread(volumes.adopt)
        await asyncio.to_thread(snapshots.clean_up)
        engine.start()
        try:
            # In this order: the directory is synced with the second.
            self._home.down_mark.unlink(missing_ok=True)
            self._announce(account, listener, network.claim)
            ready()
            await stop.wait()
        finally:
            await asyncio.to_thread(engine.stop)
            await asyncio.to_thread(instances.close)
            await asyncio.to_thread(volumes.close)
            await asyncio.to_thread(snapshots.close)
            await asyncio.to_thread(images.close)
            await stations.close()
            await api.stop()

    def _console(self, instance_id: str) -> Console | None:
        """What a server's console says now; None where there is no server."""
        return self._servers.console(instance_id)

    def _ended(self, instance_id: str, code: int | None) -> None:
        self._instances.ended(instance_id, code)

    def _announce(self, account: str, listener: socket.socket, claim: Claim) -> None:
        host, port = listener.getsockname()
        tls_url = "https://{}:{}".format(*self._tls[0].getsockname()) if self._tls is not None else ""
        self._home.write_endpoint(
            Endpoint(
                url=f"http://{host}:{port}",
                region=self._region,
                account=account,
                pid=os.getpid(),
                version=__version__,
                loopback=str(claim.host_address),
                tls_url=tls_url,
            )
        )


class Records:
    """Questions that compute asks of the store."""

    def __init__(self, database: Database, draughtsman: Draughtsman, region: str) -> None:
        self._database = database
        self._draughtsman = draughtsman
        self._region = region

    def facts_for(self, vpc_id: str, address: str) -> InstanceFacts | None:
        with self._database.read() as tx:
            return self._draughtsman.facts(tx, vpc_id, address, self._credentials)

    def has_dns(self, vpc_id: str) -> bool:
        with self._database.read() as tx:
            return names.has_dns(tx, vpc_id)

    def address_of(self, vpc_id: str, name: str) -> str | None:
        with self._database.read() as tx:
            return names.address_of(tx, vpc_id, name, self._region)

    def name_of(self, vpc_id: str, address: str) -> str | None:
        with self._database.read() as tx:
            return names.name_of(tx, vpc_id, address, self._region)

    def forget(self) -> None:
        """Terminated instances and deleted NAT gateways stay described for an hour."""
        with self._database.write() as tx:
            forget_terminated(tx)
            forget_deleted(tx)
            forget_ended(tx)

    def _credentials(self, instance_id: str, delivery: str) -> RoleCredentials | str | None:
        try:
            with self._database.write() as tx:
                session = identity.instance_credentials(tx, instance_id, delivery)
        except ServiceError as error:
            return error.code
        if session is None:
            return None
        return RoleCredentials(session.access_key_id, session.secret, session.token, session.created, session.expires)


@contextmanager
def hold(home: Home) -> Iterator[None]:
    """Make the state directory's own directories and be the only cloud that runs in it."""
    try:
        kept = (home.instances, home.images, home.captures, home.objects, home.volumes, home.snapshots)
        for directory in (home.path, *kept):
            make_directory(directory)
        descriptor = os.open(home.lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise CannotStart(
            f"The state directory {home.path} cannot be written: {error.strerror}. Set SKYLIFT_HOME to another one."
        ) from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError:
        raise CannotStart(f"Another process is running the cloud in {home.path}.") from None
    finally:
        os.close(descriptor)


@contextmanager
def listen_on_loopback(home: Home, port: int | None) -> Iterator[socket.socket]:
    """The endpoint's socket. Without a port: the one of last time, else the usual one, else any that is free."""
    last = home.endpoint()
    wanted = [port] if port is not None else [*([int(last.url.rsplit(":", 1)[1])] if last else []), DEFAULT_PORT, 0]
    with listening(wanted) as listener:
        yield listener


@contextmanager
def listen_for_tls(home: Home) -> Iterator[tuple[socket.socket, ssl.SSLContext] | None]:
    """A second socket, where `cloud up --tls` has made a certificate; at the port of last time if that is free."""
    if not home.certificate.exists():
        yield None
        return
    context = tls_context(home)
    last = home.endpoint()
    wanted = [*([int(last.tls_url.rsplit(":", 1)[1])] if last and last.tls_url else []), DEFAULT_TLS_PORT, 0]
    with listening(wanted) as listener:
        yield listener, context


def tls_context(home: Home) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    try:
        context.load_cert_chain(home.certificate)
    except (OSError, ssl.SSLError) as error:
        raise CannotStart(
            f"The certificate {home.certificate} cannot be used ({error}). Remove it, then: skylift cloud up --tls"
        ) from error
    return context


@contextmanager
def listening(wanted: list[int]) -> Iterator[socket.socket]:
    """A socket at the first of these ports that is free; 0 is any."""
    with ExitStack() as stack:
        for number in wanted:
            listener = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_STREAM))
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.setblocking(False)
            try:
                listener.bind(("127.0.0.1", number))
                # Another cloud that starts at this moment may be bound to it as well; one of the two may listen.
                listener.listen(512)
            except OSError as error:
                if number == wanted[-1]:
                    raise CannotStart(
                        f"Port {number} on 127.0.0.1: {error.strerror}. Choose another one with --port."
                    ) from error
            else:
                break
        yield listener


@contextmanager
def open_database(home: Home, console: Callable[[str], Console | None]) -> Iterator[Database]:
    try:
        database = Database(home.database, console=console, checksum=checksum.start)
    except StoreError as error:
        raise CannotStart(str(error)) from error
    try:
        sweep_files(database)
        yield database
    finally:
        database.close()


def preferred_net(database: Database) -> int | None:
    """The loopback network of last time, so that servers keep their public addresses."""
    with database.read() as tx:
        known = tx.find(CloudFacts)
    return known[0].loopback_net if known else None


def first_facts(
    database: Database, home: Home, region: str | None, claim: Claim, listener: socket.socket
) -> tuple[str, str]:
    """Bring the store up to date with the machine; at the first start make the account. Returns account and region."""
    with database.write() as tx:
        known = tx.find(CloudFacts)
        if known and region not in (None, known[0].region):
            raise CannotStart(f"The cloud in {home.path} is in {known[0].region}; a region is chosen once.")
        region = known[0].region if known else region or DEFAULT_REGION
        account = known[0].account if known else str(secrets.randbelow(9 * 10**11) + 10**11)
        if known and known[0].loopback_net != claim.number:
            log.warning(
                "127.%d.0.0/16 is another cloud's now: all public addresses have moved to %s",
                known[0].loopback_net,
                claim.addresses,
            )
        host, port = listener.getsockname()
        facts.observe(
            tx,
            CloudFacts(
                account=account,
                region=region,
                loopback_net=claim.number,
                endpoint=f"{host}:{port}",
                reserved_uids=(*granted(), WAY_OUT_UIDS),
            ),
        )
        if not known:
            make_default_vpc(tx, region)
        for built in built_images(home):
            register_image(
                tx,
                Image(
                    id=built.id,
                    name=built.name,
                    description=built.description,
                    root=str(built.root),
                    size_gib=max(IMAGE_GIB, -(-built.size // GIB)),
                    created=built.created,
                    architecture=built.architecture,
                ),
            )
        if not is_known(tx, home.root_key()):
            # Written before it is known: cut off in between, the next start finds a key that is not, and makes another.
            home.write_root_key(identity.make_root_key(tx))
    return account, region


def is_known(tx: Tx, key: RootKey | None) -> bool:
    """Whether this is a key of the account's root."""
    found = None if key is None else tx.get(AccessKey, id=key.access_key_id, user=None)
    return key is not None and found is not None and found.secret == key.secret_access_key


def places_of_work(home: Home, claim: Claim) -> tuple[Path, ...]:
    """Where programs that we begin change what is there."""
    return RUN / str(claim.number), home.volumes


def make_servers(home: Home, claim: Claim, ended: Callable[[str, int | None], None]) -> Servers:
    return Servers(RUN / str(claim.number), home.instances, f"skylift-{claim.number}", find_programs(), ended)


def make_disks(home: Home, claim: Claim) -> Disks:
    return Disks(home.volumes, home.snapshots, volumes_at(claim))


def volumes_at(claim: Claim) -> Path:
    """Where volumes are mounted on the host."""
    return RUN / str(claim.number) / "volumes"


def make_site(home: Home, claim: Claim, account: str, region: str) -> Site:
    return Site(
        account=account,
        region=region,
        disks=home.instances,
        volumes=volumes_at(claim),
        inheritance=inherited(),
        host_cpus=os.cpu_count() or 1,
        swap_accounting=cgroup.swap_accounting(),
        lxcfs=is_mounted(LXCFS),
    )


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
    servers.remove_directory()
    servers.close()
    sweep(home.path)
    with suppress(OSError):
        # Only the last cloud of the machine finds it empty.
        RUN.rmdir()


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m skylift.cloud.main", description=__doc__)
    parser.add_argument("--home", type=Path, required=True, help="state directory")
    parser.add_argument("--port", type=int, help="of the endpoint on 127.0.0.1")
    parser.add_argument("--region", default=None, help=f"of a new cloud (default {DEFAULT_REGION})")
    parser.add_argument("--ready-fd", type=int, help="descriptor to write `ready` to, or `CODE MESSAGE`")
    parser.add_argument("--down", action="store_true", help="take everything off this machine instead")
    chosen = parser.parse_args(arguments)
    home = Home(chosen.home)
    logging.basicConfig(
        level=logging.INFO,
        handlers=[CappedLog(home.log)],
        format="%(asctime)s %(levelname)s %(name)s: %(message)s",
    )

    def answer(line: str) -> None:
        if chosen.ready_fd is not None:
            # Who started it may have gone: the cloud was asked for all the same.
            with suppress(BrokenPipeError):
                os.write(chosen.ready_fd, f"{line}\n".encode())
            os.close(chosen.ready_fd)
            chosen.ready_fd = None

    try:
        if chosen.down:
            take_down(home)
        else:
            asyncio.run(Cloud(home, chosen.port, chosen.region).run(lambda: answer("ready")))
    except CannotStart as error:
        return _refuse(error, USAGE, answer)
    except (ServerError, RootfsError, NetworkError, ProfileMissing, StoreError) as error:
        return _refuse(error, FAILURE, answer)
    return 0


def _refuse(error: Exception, code: int, answer: Callable[[str], None]) -> int:
    log.error("%s", error)
    answer(f"{code} {' '.join(str(error).split())}")
    return code


if __name__ == "__main__":
    sys.exit(main())
