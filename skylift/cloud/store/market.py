"""Where the market is kept, and what of it is taken."""

from __future__ import annotations

from skylift.cloud.instance import Instance
from skylift.cloud.market import Capacity, SpotPrice, VcpuQuota
from skylift.cloud.spot import SpotNotice, SpotRequest
from skylift.cloud.store.database import Tx
from skylift.cloud.store.mapping import table

table(SpotPrice, "spot_prices", key=("type", "zone", "since"))
table(Capacity, "capacities", key=("type", "zone", "market"))
table(VcpuQuota, "vcpu_quotas", key=("family", "market"))
table(SpotRequest, "spot_requests", key=("id",))
table(SpotNotice, "spot_notices", key=("instance_id",))


def on_hosts(tx: Tx) -> list[Instance]:
    """The instances that take room and vCPUs: what is off takes none."""
    return tx.select(Instance, "WHERE state NOT IN ('stopped', 'terminated')")


def on_spot(tx: Tx) -> list[Instance]:
    """The spot instances that the market may end."""
    return tx.select(Instance, "WHERE spot_request_id IS NOT NULL AND state IN ('pending', 'running') ORDER BY rowid")


def live_requests(tx: Tx) -> list[SpotRequest]:
    """The requests that something can still become of."""
    return tx.select(
        SpotRequest,
        "WHERE state IN ('open', 'active', 'disabled') "
        "OR (state = 'cancelled' AND status_code = 'request-canceled-and-instance-running') ORDER BY rowid",
    )
