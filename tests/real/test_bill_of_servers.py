"""The bill of a real server: it is paid for from its start until it is off, whoever switches it off."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest
from support.real_cloud import RealCloud
from support.real_server import Server, until

pytestmark = pytest.mark.real


def bill(cloud: RealCloud, *options: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(cloud.skylift("cloud", "bill", "--from", "2d", "--json", *options).stdout)
    return found


def lines_of(cloud: RealCloud, server: Server) -> dict[str, Any]:
    """By option. Each of them but the volume's is of this server only."""
    return {one["option"]: one for one in bill(cloud)["lines"] if one["instance"] == server.id}


def test_from_its_start_until_it_is_off(cloud: RealCloud) -> None:
    server = cloud.launch(InstanceType="t3.nano")
    server.ssh("sudo poweroff", check=False)
    server.await_state("stopped")
    off = lines_of(cloud, server)
    ran = off["on-demand"]
    assert ran["seconds"] >= 60 and ran["type"] == "t3.nano"
    assert abs(Decimal(ran["amount"]) - Decimal(ran["price"]) * Decimal(ran["seconds"]) / 3600) < Decimal("1e-9")
    assert off["public-ipv4"]["seconds"] >= 60
    # From here on it is its disk that costs, and nothing else.
    # (Within the second of its launch there is no second of it to pay for yet.)
    volume = until(lambda: lines_of(cloud, server).get("volume"), "the disk to cost something")["seconds"]
    until(lambda: lines_of(cloud, server)["volume"]["seconds"] > volume, "the disk to cost more")
    later = lines_of(cloud, server)
    assert {option: later[option]["seconds"] for option in ("on-demand", "public-ipv4")} == {
        option: off[option]["seconds"] for option in ("on-demand", "public-ipv4")
    }
    server.terminate()
    ended = lines_of(cloud, server)
    assert lines_of(cloud, server) == ended, "what has ended costs the same for ever"
    groups = {one["key"]: Decimal(one["amount"]) for one in bill(cloud, "--by", "instance")["groups"]}
    assert groups[server.id] == sum(Decimal(one["amount"]) for one in ended.values())
