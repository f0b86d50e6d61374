"""The rows of this folder's operations: each stands below its handler."""

from __future__ import annotations

from skylift.cloud.services.api.operation import Operation
from skylift.cloud.services.ebs import (
    snapshot,
    snapshot_attribute,
    snapshot_making,
    volume,
    volume_attachment,
    volume_change,
    volume_making,
)

OPERATIONS: tuple[Operation, ...] = (
    *snapshot.OPERATIONS,
    *snapshot_attribute.OPERATIONS,
    *snapshot_making.OPERATIONS,
    *volume.OPERATIONS,
    *volume_attachment.OPERATIONS,
    *volume_change.OPERATIONS,
    *volume_making.OPERATIONS,
)
