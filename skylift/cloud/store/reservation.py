"""Where purchases of reserved instances are kept."""

from __future__ import annotations

from skylift.cloud.domain.reservation import ReservedInstances
from skylift.cloud.store.mapping import table

table(ReservedInstances, "reserved_instances", key=("id",))
