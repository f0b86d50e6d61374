"""Carries lifecycle rules out, some versions at a time: the loop asks for the next ones."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

from skylift.cloud.domain.bucket import Bucket, ObjectVersion, Upload
from skylift.cloud.services.s3 import object_version as version
from skylift.cloud.services.s3.expiration import Newer, abandoned, due, enabled
from skylift.cloud.services.s3.transition import move
from skylift.cloud.services.s3.upload import discard_upload
from skylift.cloud.store.bucket import has_older, newer_than
from skylift.cloud.store.database import Tx

MOST_NEWER = 102
"""As many newer versions as make a difference: rules keep the newest 100 of those that are not current."""


def is_due(tx: Tx, bucket: Bucket, found: ObjectVersion) -> bool:
    """Whether this version expires or changes its storage class now."""
    newer = newer_than(tx, found, MOST_NEWER)
    return _ends(tx, bucket, found, newer) is not None or move(bucket, found, newer, tx.now) is not None


def carry_out(tx: Tx, name: str, found: ObjectVersion) -> None:
    """Remove it if it expires now, else move it to another class.

    It is looked at again: rules and versions may be others than those that were due.
    """
    bucket, left = tx.get(Bucket, name=name), tx.get(ObjectVersion, bucket=name, key=found.key, sequence=found.sequence)
    if bucket is None or left is None:
        return
    newer = newer_than(tx, left, MOST_NEWER)
    match _ends(tx, bucket, left, newer):
        case "for good":
            version.remove(tx, left)
        case "as the latest":
            # Where versions are kept, this puts a delete marker on top.
            version.delete(tx, bucket, left.key, None)
        case None if (storage_class := move(bucket, left, newer, tx.now)) is not None:
            tx.save(replace(left, storage_class=storage_class, restored_until=None))


def _ends(tx: Tx, bucket: Bucket, found: ObjectVersion, newer: Newer) -> Literal["for good", "as the latest"] | None:
    if not due(bucket, found, newer, tx.now):
        return None
    if newer:
        return "for good"
    if not found.delete_marker:
        return "as the latest"
    # A delete marker goes once it is alone: no bytes are behind it.
    return None if has_older(tx, found) else "for good"


def abandoned_uploads(tx: Tx, bucket: Bucket) -> list[str]:
    """The ids of uploads that a rule ends now."""
    rules = [rule for rule in enabled(bucket) if rule.abort_days is not None]
    if not rules:
        return []
    uploads = tx.find(Upload, bucket=bucket.name)
    return [each.id for each in uploads if any(abandoned(rule, each.key, each.started, tx.now) for rule in rules)]


def abort(tx: Tx, name: str, upload_id: str) -> None:
    bucket, upload = tx.get(Bucket, name=name), tx.get(Upload, id=upload_id)
    if bucket is None or upload is None:
        return
    if any(abandoned(rule, upload.key, upload.started, tx.now) for rule in enabled(bucket)):
        discard_upload(tx, upload)
