"""What a VPC's DNS server knows, by the VPC's attributes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from skylift.cloud.domain.network import CidrBlock, NetworkInterface, Subnet, Vpc
from skylift.cloud.loops.vpc import names
from skylift.cloud.store.database import Database

NAME = "ip-10-0-1-5.ec2.internal"
VPC = Vpc("vpc-1", "10.0.0.0/16", dns_hostnames=True, more_cidrs=(CidrBlock("a", "10.7.0.0/16"),))


@pytest.fixture(name="database")
def database_fixture(tmp_path: Path) -> Iterator[Database]:
    """Two VPCs with the same range; one server, in the first."""
    database = Database(tmp_path / "state.db")
    with database.write() as tx:
        tx.add(VPC)
        tx.add(replace(VPC, id="vpc-2"))
        tx.add(Subnet("subnet-1", "vpc-1", "10.0.1.0/24", "us-east-1a"))
        now = datetime(2026, 1, 1, tzinfo=UTC)
        tx.add(NetworkInterface("eni-1", "vpc-1", "subnet-1", "02:00:00:00:00:01", "10.0.1.5", (), now))
    yield database
    database.close()


def known(database: Database, vpc: Vpc) -> tuple[bool, str | None, str | None]:
    with database.write() as tx:
        tx.save(vpc)
    with database.read() as tx:
        return (
            names.has_dns(tx, vpc.id),
            names.address_of(tx, vpc.id, NAME, "us-east-1"),
            names.name_of(tx, vpc.id, "10.0.1.5", "us-east-1"),
        )


def test_names_follow_the_attributes_of_the_vpc(database: Database) -> None:
    assert known(database, VPC) == (True, "10.0.1.5", NAME)
    assert known(database, replace(VPC, dns_hostnames=False)) == (True, None, "")
    assert known(database, replace(VPC, dns_support=False, dns_hostnames=False)) == (False, None, "")


def test_another_vpc_does_not_know_them(database: Database) -> None:
    assert known(database, replace(VPC, id="vpc-2")) == (True, None, "")


@pytest.mark.parametrize(("address", "expected"), [("10.7.1.1", ""), ("10.1.0.1", None), ("192.0.2.1", None)])
def test_only_the_ranges_of_the_vpc_are_its_own(database: Database, address: str, expected: str | None) -> None:
    with database.read() as tx:
        assert names.name_of(tx, "vpc-1", address, "us-east-1") == expected


@pytest.mark.parametrize("name", ["ip-10-0-1-5.eu-west-1.compute.internal", "ip-10-0-1-6.ec2.internal", "ec2.internal"])
def test_names_that_nobody_has(database: Database, name: str) -> None:
    with database.read() as tx:
        assert names.address_of(tx, "vpc-1", name, "us-east-1") is None
