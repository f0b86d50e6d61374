"""Snapshots as they are described."""

from __future__ import annotations

from typing import TYPE_CHECKING

from skylift.cloud.domain.identity import Caller
from skylift.cloud.domain.volume import Snapshot
from skylift.cloud.services.api.ec2_operation import PAGES, reads
from skylift.cloud.services.api.filter import same_named
from skylift.cloud.services.api.list_response import Listing
from skylift.cloud.services.api.page import Limits
from skylift.cloud.services.api.tag import tag_list
from skylift.cloud.services.api.transition import in_transition
from skylift.cloud.store.database import Tx

if TYPE_CHECKING:
    from aws_shapes import ec2

LISTING = Listing(
    Snapshot,
    ids="SnapshotIds",
    key="SnapshotId",
    limits=Limits(not_with=("SnapshotIds", "snapshotIds")),
    filters={
        **same_named(
            "description encrypted owner-alias owner-id progress snapshot-id start-time storage-tier "
            "transfer-type volume-id volume-size"
        ),
        "status": "State",
    },
)


def view(snapshot: Snapshot, owner: str) -> ec2.Snapshot:
    return {
        "SnapshotId": snapshot.id,
        "VolumeId": snapshot.volume_id,
        "VolumeSize": snapshot.size_gib,
        "Description": snapshot.description,
        "OwnerId": owner,
        "State": snapshot.state,
        **({"StateMessage": snapshot.message} if snapshot.message else {}),
        "Progress": "100%" if snapshot.state == "completed" else "0%",
        "StartTime": snapshot.started,
        **({"CompletionTime": snapshot.completed} if snapshot.completed else {}),
        "Encrypted": False,
        "StorageTier": "standard",
        "Tags": tag_list(snapshot.tags),
    }


def describe(tx: Tx, caller: Caller, params: ec2.DescribeSnapshotsRequest) -> ec2.DescribeSnapshotsResult:
    rows = LISTING.rows(tx, params)
    owners, users = params.get("OwnerIds"), params.get("RestorableByUserIds")
    if owners:
        # Every snapshot here is the account's own.
        rows = rows if {"self", caller.account} & set(owners) else []
    if users:
        rows = [snapshot for snapshot in rows if _restorable(snapshot, users, caller.account)]
    shown = LISTING.page(params, [view(snapshot, caller.account) for snapshot in rows])
    return {"Snapshots": shown.items, **shown.next}


def _restorable(snapshot: Snapshot, users: list[str], account: str) -> bool:
    """`all` selects public snapshots; `self` and the account's number select its own."""
    return (
        (snapshot.public and "all" in users)
        or bool({"self", account} & set(users))
        or bool(set(users) & set(snapshot.users))
    )


OPERATIONS = (
    reads(
        "DescribeSnapshots",
        describe,
        f"SnapshotIds OwnerIds RestorableByUserIds {PAGES}",
        unsettled=in_transition("SnapshotIds", ("Snapshots.State", "pending")),
    ),
)
