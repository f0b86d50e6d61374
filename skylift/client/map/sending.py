"""Sends local inputs, as blobs by their content, beside those that jobs have sent."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from skylift.client.errors import RunError, UsageError
from skylift.client.map.inputs import FoundInput
from skylift.client.ship.blob_store import Blob
from skylift.client.text.visible import shown
from skylift.client.waiting import Threads

_AT_A_TIME = 4


def blobs_of(found: Sequence[FoundInput]) -> list[Blob]:
    """What travels of each input, in their order. Raises as `blob_of` does."""
    with Threads(_AT_A_TIME) as pool:
        return list(pool.map(blob_of, found))


def blob_of(found: FoundInput) -> Blob:
    """Reads the file for its hash. Raises UsageError for one that cannot be read, or is another one by now."""
    digest, size = hashlib.sha256(), 0
    try:
        with found.open() as file:
            for piece in iter(lambda: file.read(1 << 20), b""):
                digest.update(piece)
                size += len(piece)
    except OSError as error:
        raise UsageError(f"{shown(found.text)} cannot be read: {error.strerror}.") from None
    if found.part is not None and size != found.part.size:
        raise RunError(
            f"{shown(found.text)} became shorter while it was being sent.", "Send it when nothing writes to it."
        )
    return Blob(shown(found.text), digest.hexdigest(), size, found.open)
