"""Prepares the store before anything is served: the account, its first key, the region, the default VPC."""

from __future__ import annotations

import logging
import secrets
import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from skylift.cloud.compute.image.image import built_images, default_image
from skylift.cloud.compute.image.stored import STORED_UIDS
from skylift.cloud.compute.image.unneeded import name_images
from skylift.cloud.compute.network.loopback_range import PASTA_UIDS, LoopbackRange
from skylift.cloud.compute.server.subid import granted
from skylift.cloud.domain.facts import CloudFacts
from skylift.cloud.domain.identity import AccessKey
from skylift.cloud.domain.instance import Console, Image
from skylift.cloud.domain.opening import Opening, OpeningError, parse_openings
from skylift.cloud.process.cannot_start import CannotStart
from skylift.cloud.services.api import facts
from skylift.cloud.services.ec2.image import register_image
from skylift.cloud.services.iam import identity
from skylift.cloud.services.scheduler.group import make_default_group
from skylift.cloud.services.vpc.vpc import make_default_vpc
from skylift.cloud.state.data import Data
from skylift.cloud.state.home import Home, RootKey
from skylift.cloud.store.content import sweep_files
from skylift.cloud.store.database import Database, StoreError, Tx
from skylift.cloud.store.image_use import is_named
from skylift.cloud.wire import checksum

log = logging.getLogger("skylift.cloud")

DEFAULT_REGION = "us-east-1"
GIB = 1 << 30
IMAGE_GIB = 8
"""The size of the images that the provided one replaces."""


@contextmanager
def open_database(data: Data, console: Callable[[str], Console | None]) -> Iterator[Database]:
    try:
        database = Database(data.database, console=console, checksum=checksum.start)
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


def allowed_openings(database: Database, wanted: Sequence[str] | None) -> tuple[Opening, ...]:
    """The openings of this start's options, else those of the last start. Raises CannotStart."""
    if wanted is None:
        with database.read() as tx:
            known = tx.find(CloudFacts)
        wanted = known[0].allowed if known else ()
    try:
        return parse_openings(wanted)
    except OpeningError as error:
        raise CannotStart(str(error)) from error


def bootstrap(
    database: Database,
    home: Home,
    region: str | None,
    loopback: LoopbackRange,
    listener: socket.socket,
    allowed: Sequence[Opening] = (),
) -> tuple[str, str]:
    """Bring the store up to date with the machine; at the first start make the account. Returns account and region."""
    with database.write() as tx:
        known = tx.find(CloudFacts)
        if known and region not in (None, known[0].region):
            raise CannotStart(
                f"The cloud in {home.path} has the region {known[0].region}, which cannot be changed. "
                "Leave out --region, or set another SKYLIFT_HOME."
            )
        region = known[0].region if known else region or DEFAULT_REGION
        account = known[0].account if known else str(secrets.randbelow(9 * 10**11) + 10**11)
        if known and known[0].loopback_net != loopback.number:
            log.warning(
                "another cloud has 127.%d.0.0/16 now: all public addresses of this one have moved to %s",
                known[0].loopback_net,
                loopback.addresses,
            )
        host, port = listener.getsockname()
        facts.observe(
            tx,
            CloudFacts(
                account=account,
                region=region,
                loopback_net=loopback.number,
                endpoint=f"{host}:{port}",
                reserved_uids=(*granted(), PASTA_UIDS, STORED_UIDS),
                allowed=tuple(map(str, allowed)),
            ),
        )
        if not known:
            make_default_vpc(tx, region)
            make_default_group(tx, account, region)
        provided = _provide_images(tx, home.data)
        if not is_known(tx, home.root_key()):
            # Written before it is known: cut off in between, the next start finds a key that is not, and makes another.
            try:
                home.write_root_key(identity.make_root_key(tx))
            except OSError as error:
                raise CannotStart(f"{home.path} cannot be written by {home.owner.name}: {error.strerror}.") from error
    name_images(home.data, provided)
    return account, region


def _provide_images(tx: Tx, data: Data) -> set[str]:
    """Makes this version's image known, and keeps images of other versions that something here needs. The machine may
    have images that other versions have built."""
    own = default_image(data)
    needed = {each for each in built_images(data) if each == own or is_named(tx, each.id)}
    for built in needed:
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
    names = {built.id for built in needed}
    for known in tx.find(Image, owner="amazon"):
        if known.id not in names and not is_named(tx, known.id):
            tx.remove(known)
    return names


def is_known(tx: Tx, key: RootKey | None) -> bool:
    """Whether this is a key of the account's root."""
    found = None if key is None else tx.get(AccessKey, id=key.access_key_id, user=None)
    return key is not None and found is not None and found.secret == key.secret_access_key
