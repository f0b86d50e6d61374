"""Where the usage of resources is kept: what ran, from when to when. Each change of a row records it in its
transaction.

The code that starts, stops or ends a server does not have to think of it: each change of a row comes by here.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

from skylift.cloud.domain.dedicated_host import DedicatedHost
from skylift.cloud.domain.instance import Instance
from skylift.cloud.domain.network import Address, NetworkInterface
from skylift.cloud.domain.usage import Usage
from skylift.cloud.domain.volume import Volume
from skylift.cloud.store.database import Tx
from skylift.cloud.store.mapping import table

table(Usage, "usages", key=("number",))

BILLED = timedelta(days=400)
"""The times in which a resource cost money are kept for thirteen months, as in AWS's own cost reports."""


def usages_between(tx: Tx, start: datetime, end: datetime) -> list[Usage]:
    """Usages that overlap with `start` to `end`, in the order in which they began."""
    return tx.select(
        Usage, "WHERE started < ? AND (ended IS NULL OR ended > ?) ORDER BY number", end.isoformat(), start.isoformat()
    )


def forget_usages(tx: Tx) -> bool:
    return tx.forget(Usage, "ended < ?", (tx.now - BILLED).isoformat())


def open_instances(tx: Tx) -> list[Usage]:
    return tx.select(Usage, "WHERE kind = 'instance' AND ended IS NULL ORDER BY number")


def end_at(tx: Tx, instance_id: str, moment: datetime) -> None:
    """An instance is found to have ended before now, and so has its public address, unless that is the account's."""
    held = "resource_id = ?1 OR instance_id = ?1 AND resource_id IN (SELECT id FROM network_interfaces)"
    for usage in tx.select(Usage, f"WHERE ended IS NULL AND ({held})", instance_id):
        tx.save(replace(usage, ended=min(tx.now, max(usage.started, moment))))


def follow_instance(tx: Tx, row: Instance, gone: bool) -> None:
    """A reboot goes on in the same span: the row says `running` all the while, as on EC2."""
    if gone or row.state != "running":
        _end(tx, row.id, row.state_reason_code)
        if row.state == "terminated":
            _follow_volumes(tx, row.id)
        return
    _keep(
        tx,
        Usage(
            0,
            row.id,
            "instance",
            tx.now,
            tx.now,
            type=row.type,
            zone=row.zone,
            market="spot" if row.spot_request_id else "on-demand",
            tenancy=row.tenancy,
            host_id=row.host_id,
            instance_id=row.id,
            tags=row.tags,
        ),
    )


def _follow_volumes(tx: Tx, instance_id: str) -> None:
    """A database trigger has deleted or freed the volumes of an ended instance."""
    for usage in tx.select(Usage, "WHERE instance_id = ? AND kind = 'volume' AND ended IS NULL", instance_id):
        volume = tx.get(Volume, id=usage.resource_id)
        if volume is None:
            _end(tx, usage.resource_id)
        else:
            follow_volume(tx, volume, False)


def follow_volume(tx: Tx, row: Volume, gone: bool) -> None:
    if gone or row.state in ("deleting", "error"):
        _end(tx, row.id)
        return
    _keep(
        tx,
        Usage(
            0,
            row.id,
            "volume",
            tx.now,
            tx.now,
            type=row.type,
            zone=row.zone,
            quantity=row.size_gib,
            iops=row.iops,
            throughput=row.throughput,
            instance_id=row.instance_id,
            tags=row.tags,
        ),
    )


def follow_address(tx: Tx, row: Address, gone: bool) -> None:
    if gone:
        _end(tx, row.id)
        return
    interface = tx.get(NetworkInterface, id=row.interface_id) if row.interface_id else None
    instance_id = interface.instance_id if interface else None
    _keep(tx, Usage(0, row.id, "address", tx.now, tx.now, instance_id=instance_id, tags=row.tags))


def follow_interface(tx: Tx, row: NetworkInterface, gone: bool) -> None:
    """Follow an interface's public address, unless that is an Elastic IP, which counts by itself."""
    if gone or row.public_ip is None or tx.get(Address, public_ip=row.public_ip) is not None:
        _end(tx, row.id)
        return
    _keep(tx, Usage(0, row.id, "address", tx.now, tx.now, instance_id=row.instance_id, tags=row.tags))


def follow_host(tx: Tx, row: DedicatedHost, gone: bool) -> None:
    if gone or row.released:
        _end(tx, row.id)
        return
    _keep(tx, Usage(0, row.id, "host", tx.now, tx.now, type=row.type or row.family, zone=row.zone, tags=row.tags))


def _keep(tx: Tx, wanted: Usage) -> None:
    """Goes on with the open span if it is of the same kind. Otherwise ends it and begins another one."""
    before = _open(tx, wanted.resource_id)
    if before is None:
        tx.add(replace(wanted, number=_next(tx)))
        return
    tagged = replace(before, tags=wanted.tags)
    if replace(wanted, number=before.number, began=before.began, started=before.started) == tagged:
        if tagged != before:
            tx.save(tagged)
        return
    ended = _at(tx, before)
    tx.save(replace(tagged, ended=ended))
    tx.add(replace(wanted, number=_next(tx), began=before.began, started=ended))


def _end(tx: Tx, resource_id: str, reason: str = "") -> None:
    before = _open(tx, resource_id)
    if before is not None:
        tx.save(replace(before, ended=_at(tx, before), reason=reason))


def _at(tx: Tx, before: Usage) -> datetime:
    """The clock may have been set back."""
    return max(tx.now, before.started)


def _open(tx: Tx, resource_id: str) -> Usage | None:
    found = tx.select(Usage, "WHERE resource_id = ? AND ended IS NULL", resource_id)
    return found[0] if found else None


def _next(tx: Tx) -> int:
    last: int = tx.execute("SELECT coalesce(max(number), 0) FROM usages").fetchone()[0]
    return last + 1
