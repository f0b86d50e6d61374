"""Where placement groups are kept, and who is in one."""

from __future__ import annotations

from skylift.cloud.domain.instance import Instance
from skylift.cloud.domain.placement_group import PlacementGroup
from skylift.cloud.store.database import Tx
from skylift.cloud.store.mapping import table

table(PlacementGroup, "placement_groups", key=("id",))


def placed_in(tx: Tx, group: PlacementGroup) -> list[Instance]:
    """The instances in a group that have not ended, those that are stopped among them."""
    return tx.select(
        Instance, "WHERE placement_group_id = ? AND state NOT IN ('shutting-down', 'terminated')", group.id
    )
