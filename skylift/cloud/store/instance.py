"""Where the nouns of a server are kept, and of where it may run, and the questions about them that need SQL."""

from __future__ import annotations

from datetime import datetime

from skylift.cloud.domain.dedicated_host import DedicatedHost
from skylift.cloud.domain.instance import ClientToken, Console, Image, Instance, KeyPair
from skylift.cloud.domain.launch_template import LaunchTemplate, LaunchTemplateVersion
from skylift.cloud.domain.placement_group import PlacementGroup
from skylift.cloud.store.database import Tx
from skylift.cloud.store.mapping import table, to_column
from skylift.cloud.store.usage import follow_host, follow_instance

table(Instance, "instances", key=("id",), follow=follow_instance)
table(Console, "consoles", key=("instance_id",))
table(Image, "images", key=("id",))
table(KeyPair, "key_pairs", key=("id",))
table(ClientToken, "client_tokens", key=("operation", "token"))
table(LaunchTemplate, "launch_templates", key=("id",))
table(LaunchTemplateVersion, "launch_template_versions", key=("template_id", "number"))
table(DedicatedHost, "dedicated_hosts", key=("id",), follow=follow_host)
table(PlacementGroup, "placement_groups", key=("id",))


FORGET = (
    "DELETE FROM instances WHERE rowid IN (SELECT rowid FROM instances INDEXED BY instances_by_end "
    "WHERE state = 'terminated' AND ended <= ? ORDER BY ended LIMIT ?)"
)


def uid_bases(tx: Tx) -> set[int]:
    """The uid ranges, by their first uid, of servers that still have a disk."""
    return {row[0] for row in tx.execute("SELECT uid_base FROM instances WHERE state != 'terminated'")}


def forget_ended(tx: Tx, moment: datetime, most: int) -> int:
    """Drop terminated instances that ended at this moment or before it, the first of them; returns how many. None is
    read: each has its user data with it. What they cost was written down when they ended."""
    return tx.execute(FORGET, to_column(moment), most).rowcount


def forget_tokens_of_the_gone(tx: Tx) -> None:
    """Drop client tokens whose result is no longer described: the same token then makes something new."""
    tx.execute(
        "DELETE FROM client_tokens WHERE result NOT IN "
        "(SELECT reservation_id FROM instances UNION SELECT id FROM route_tables "
        "UNION SELECT id FROM images UNION SELECT id FROM launch_templates "
        "UNION SELECT template_id || '/' || number FROM launch_template_versions "
        "UNION SELECT id FROM nat_gateways UNION SELECT id FROM network_acls "
        "UNION SELECT id FROM network_interfaces UNION SELECT id FROM volumes "
        "UNION SELECT id FROM prefix_lists UNION SELECT id FROM fleets UNION SELECT id FROM dedicated_hosts) "
        # Requests that came together have one token for the ids of all of them.
        "AND NOT EXISTS (SELECT 1 FROM spot_requests WHERE instr(client_tokens.result, id) > 0)"
    )


def on_host(tx: Tx, host_id: str) -> list[Instance]:
    """The instances that take room on a host; those that are off take none."""
    return tx.select(Instance, "WHERE host_id = ? AND state NOT IN ('stopped', 'terminated') ORDER BY rowid", host_id)


def placed_in(tx: Tx, group: PlacementGroup) -> list[Instance]:
    """The instances in a group that have not ended, those that are stopped among them."""
    return tx.select(
        Instance, "WHERE placement_group_id = ? AND state NOT IN ('shutting-down', 'terminated')", group.id
    )
