"""The properties of the machine that services need, and the numbers that they hand out: public addresses and uid
ranges.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from skylift.cloud.domain.error import ServiceError
from skylift.cloud.domain.facts import CloudFacts
from skylift.cloud.domain.network import NetworkInterface
from skylift.cloud.store.database import Tx
from skylift.cloud.store.instance import uid_bases
from skylift.cloud.store.network import has_public_ip, move_public_ips

UIDS = 65536
FIRST_UID = 1_000_000_000
RANGES = (2**32 - 2 - FIRST_UID) // UIDS
"""The number of uid ranges. 2**32 - 1 is no uid: to chown it means "leave it"."""

RANGES_PER_NET = RANGES // 256

PUBLIC_IPS = 255 * 254


def observe(tx: Tx, facts: CloudFacts) -> None:
    """Record the properties of the machine at this start of the cloud. Facts that services keep there stay."""
    known = tx.get(CloudFacts, account=facts.account)
    if known is None:
        tx.add(facts)
        return
    if known.loopback_net != facts.loopback_net:
        move_public_ips(tx, known.loopback_net, facts.loopback_net)
    tx.save(replace(facts, public_ips_given=known.public_ips_given))


def take_public_ip(tx: Tx) -> str:
    """The next free address of this cloud's 127.N.0.0/16. Addresses go round, so that none is soon used again."""
    (facts,) = tx.find(CloudFacts)
    for step in range(PUBLIC_IPS):
        address = _public_ip(facts.loopback_net, facts.public_ips_given + step)
        if not has_public_ip(tx, address):
            tx.save(replace(facts, public_ips_given=facts.public_ips_given + step + 1))
            return address
    raise ServiceError(
        "InsufficientAddressCapacity", f"All public addresses of 127.{facts.loopback_net}.0.0/16 are in use."
    )


def retake_public_ip(tx: Tx, address: str) -> bool:
    """Whether a released address of this cloud can be allocated again."""
    (facts,) = tx.find(CloudFacts)
    return address.startswith(f"127.{facts.loopback_net}.") and not has_public_ip(tx, address)


def gets_public_ip(tx: Tx, interface: NetworkInterface) -> bool:
    """Whether a server that has lost its public address gets another one there: EC2 gives none to a server that has
    more than one interface."""
    alone = len(tx.find(NetworkInterface, instance_id=interface.instance_id)) == 1
    return interface.wants_public_ip and alone


def take_uid_bases(tx: Tx) -> Iterator[int]:
    """The first uids of free ranges: no server has one of them, and none is reserved.

    Clouds on one machine begin at different places, by the loopback network that is theirs alone, so that their
    servers do not share uids either.
    """
    (facts,) = tx.find(CloudFacts)
    taken = uid_bases(tx)
    reserved = [_bounds(text) for text in facts.reserved_uids]
    for step in range(RANGES):
        base = FIRST_UID + UIDS * ((facts.loopback_net * RANGES_PER_NET + step) % RANGES)
        if base not in taken and not any(first < base + UIDS and base <= last for first, last in reserved):
            yield base
    raise ServiceError("InsufficientInstanceCapacity", "No range of host uids is left for another instance.")


def _public_ip(net: int, number: int) -> str:
    """127.N.1.1 to 127.N.255.254; 127.N.0.x is the cloud's own, and .0 and .255 look like other things."""
    third, fourth = divmod(number % PUBLIC_IPS, 254)
    return f"127.{net}.{third + 1}.{fourth + 1}"


def _bounds(text: str) -> tuple[int, int]:
    first, _, last = text.partition("-")
    return int(first), int(last)
