"""Where the market's settings are kept, and how much of its room is taken."""

from __future__ import annotations

from datetime import timedelta

from skylift.cloud.domain.instance import Instance
from skylift.cloud.domain.market import Capacity, SpotPrice, VcpuQuota
from skylift.cloud.domain.reservation import ReservedInstances
from skylift.cloud.domain.spot import SpotNotice, SpotRequest
from skylift.cloud.store.database import Tx
from skylift.cloud.store.mapping import table, to_column

table(SpotPrice, "spot_prices", key=("type", "zone", "since"))
table(Capacity, "capacities", key=("type", "zone", "market"))
table(VcpuQuota, "vcpu_quotas", key=("family", "market"))
table(ReservedInstances, "reserved_instances", key=("id",))
table(SpotRequest, "spot_requests", key=("id",))
table(SpotNotice, "spot_notices", key=("instance_id",))

REMEMBERED = timedelta(hours=1)
"""DescribeSpotInstanceRequests shows an ended request for this long."""


def forget_requests(tx: Tx) -> bool:
    over = "state IN ('closed', 'cancelled', 'failed') AND status_updated <= ?"
    alone = "(instance_id IS NULL OR instance_id NOT IN (SELECT id FROM instances))"
    return tx.forget(SpotRequest, f"{over} AND {alone}", to_column(tx.now - REMEMBERED))


def taken(tx: Tx, zone: str, type_name: str | None, market: str) -> int:
    """How many instances of a type, or of all, take room in a zone: of one market or of `any`. What is off does not,
    nor what is on a dedicated host: that is the account's room already."""
    rows = tx.execute(
        "SELECT count(*) FROM instances WHERE state NOT IN ('stopped', 'terminated') AND tenancy != 'host' "
        "AND zone = ? AND (? IS NULL OR type = ?) AND (? = 'any' OR (spot_request_id IS NOT NULL) = (? = 'spot'))",
        *(zone, type_name, type_name, market, market),
    )
    found: int = rows.fetchone()[0]
    return found


def running_types(tx: Tx, market: str) -> dict[str, int]:
    """How many instances of each type run in one market. Dedicated hosts are not counted: they have separate quotas."""
    rows = tx.execute(
        "SELECT type, count(*) FROM instances WHERE state NOT IN ('stopped', 'terminated') AND tenancy != 'host' "
        "AND (spot_request_id IS NOT NULL) = (? = 'spot') GROUP BY type",
        market,
    )
    return dict(rows.fetchall())


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
