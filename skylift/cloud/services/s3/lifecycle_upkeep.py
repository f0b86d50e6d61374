"""Carries lifecycle rules out, some keys at a time: the loop asks for the next ones."""

from __future__ import annotations

from dataclasses import replace

from skylift.cloud.domain.bucket import Bucket, Object, Upload
from skylift.cloud.services.s3 import object_version as version
from skylift.cloud.services.s3.expiration import abandoned, due, enabled
from skylift.cloud.services.s3.transition import moves
from skylift.cloud.services.s3.upload import discard_upload
from skylift.cloud.store.bucket import versions_of
from skylift.cloud.store.database import Tx


def is_due(tx: Tx, bucket: Bucket, key: str) -> bool:
    """Whether something of this key expires or changes its storage class now."""
    versions = versions_of(tx, bucket.name, key)
    if not versions:
        return False
    ends, gone = due(bucket, versions, tx.now)
    return ends or bool(gone) or bool(moves(bucket, versions, tx.now))


def carry_out(tx: Tx, name: str, key: str) -> None:
    """Remove what expires now, and move what is to be in another class: what is to do both expires.

    It is looked at again: rules and objects may be others than those that were due.
    """
    bucket = tx.get(Bucket, name=name)
    versions = versions_of(tx, name, key)
    if bucket is None or not versions:
        return
    ends, gone = due(bucket, versions, tx.now)
    for each in gone:
        # As it is now: with the one before it, what is the latest may have changed.
        found = tx.get(Object, bucket=name, key=key, sequence=each.sequence)
        if found is not None:
            version.remove(tx, found)
    if ends:
        # Where versions are kept, this puts a delete marker on top.
        version.delete(tx, bucket, key, None)
    for each, storage_class in moves(bucket, versions, tx.now):
        left = tx.get(Object, bucket=name, key=key, sequence=each.sequence)
        if left is not None and not (ends and each.latest):
            tx.save(replace(left, storage_class=storage_class, restored_until=None))


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
