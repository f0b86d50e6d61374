from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from support.plain_instance import plain_instance

from skylift.cloud.domain.instance import Image, MetadataOptions
from skylift.cloud.domain.network import (
    EarlierPrefixList,
    NetworkInterface,
    PrefixEntry,
    PrefixList,
    Route,
    RouteAssociation,
    RouteTable,
    Rule,
    SecurityGroup,
    Subnet,
    ToInternetGateway,
    ToLocal,
    Vpc,
)
from skylift.cloud.domain.volume import Volume
from skylift.cloud.store.database import Database, Duplicate
from skylift.cloud.store.network import move_public_ips

NOW = datetime(2026, 11, 25, 12, 0, 0, 123456, UTC)

VPC = Vpc("vpc-1", "10.0.0.0/16", tags={"ä": "ö"})
SUBNET = Subnet("subnet-1", "vpc-1", "10.0.0.0/24", "us-east-1a", map_public_ip=True)
TABLE = RouteTable(
    "rtb-1",
    "vpc-1",
    (Route("10.0.0.0/16", ToLocal()), Route("0.0.0.0/0", ToInternetGateway("igw-1"))),
    (RouteAssociation("rtbassoc-1"),),
)
GROUP = SecurityGroup("sg-1", "vpc-1", "web", "d", (Rule("sgr-1", False, "tcp", 1, 2, cidr="0.0.0.0/0"),))
IMAGE = Image("ami-1", "debian", "d", "/r", 8, NOW, "x86_64")
INSTANCE = plain_instance(launched=NOW, metadata=MetadataOptions(hop_limit=3))
INTERFACE = NetworkInterface(
    "eni-1", "vpc-1", "subnet-1", "0a:00:00:00:00:01", "10.0.0.4", ("sg-1",), NOW, "127.7.1.1", True, "i-1"
)
VOLUME = Volume(
    "vol-1",
    8,
    "us-east-1a",
    NOW,
    state="in-use",
    root=True,
    instance_id="i-1",
    device="/dev/xvda",
    attachment="attached",
    attached=NOW,
    delete_on_termination=True,
)
NOUNS = (VPC, SUBNET, TABLE, GROUP, IMAGE, INSTANCE, INTERFACE, VOLUME)


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    opened = Database(tmp_path / "state.db")
    with opened.write() as tx:
        for noun in NOUNS:
            tx.add(noun)
    yield opened
    opened.close()


@pytest.mark.parametrize("noun", NOUNS, ids=lambda noun: type(noun).__name__)
def test_what_comes_out_is_what_went_in(database: Database, noun: Vpc) -> None:
    with database.read() as tx:
        assert tx.get(type(noun), id=noun.id) == noun


@pytest.mark.parametrize(
    "second",
    [
        VPC,
        SecurityGroup("sg-2", "vpc-1", "web", "another of the same name"),
        Subnet("subnet-2", "vpc-none", "10.0.0.0/24", "us-east-1a"),
        NetworkInterface("eni-2", "vpc-1", "subnet-1", "0a:00:00:00:00:02", "10.0.0.4", ("sg-1",), NOW),
        NetworkInterface("eni-2", "vpc-1", "subnet-1", "0a:00:00:00:00:02", "10.0.0.5", (), NOW, "127.7.1.1"),
        NetworkInterface("eni-2", "vpc-1", "subnet-1", "0a:00:00:00:00:01", "10.0.0.5", (), NOW),
    ],
    ids=["id", "group name", "no such vpc", "private address", "public address", "mac"],
)
def test_the_schema_holds_what_must_not_be_twice(database: Database, second: object) -> None:
    with database.write() as tx, pytest.raises(Duplicate):
        tx.add(second)


def test_addresses_follow_to_another_loopback_network(database: Database) -> None:
    """Also those that rules and lists name, in earlier versions too."""
    rule = Rule("sgr-1", False, "tcp", 1, 2, cidr="127.7.1.1/32")
    there, elsewhere = PrefixEntry("127.7.1.1/32"), PrefixEntry("10.127.7.1/32")
    with database.write() as tx:
        tx.save(replace(GROUP, rules=(rule,)))
        tx.add(PrefixList("pl-1", "offices", "IPv4", 5, 2, (there, elsewhere)))
        tx.add(EarlierPrefixList("pl-1", 1, (there,)))
        move_public_ips(tx, 7, 9)
    moved = PrefixEntry("127.9.1.1/32")
    with database.read() as tx:
        assert [each.public_ip for each in tx.find(NetworkInterface)] == ["127.9.1.1"]
        assert [each.rules for each in tx.find(SecurityGroup)] == [(replace(rule, cidr="127.9.1.1/32"),)]
        assert [each.entries for each in tx.find(PrefixList)] == [(moved, elsewhere)]
        assert [each.entries for each in tx.find(EarlierPrefixList)] == [(moved,)]
