"""How networks follow the store."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from skylift.cloud.compute.network.error import ListenRefused
from skylift.cloud.compute.network.plan import VpcPlan
from skylift.cloud.domain.network import NetworkInterface, Subnet, Vpc
from skylift.cloud.loops.vpc.network import NetworkLoop
from skylift.cloud.store.database import Database


class Networks:
    lost = ""

    def heal(self) -> bool:
        return False

    def apply(self, plans: list[VpcPlan]) -> dict[str, Exception]:
        assert plans == []
        return {}


def test_who_is_told_of_vpcs_and_fails_is_told_again(tmp_path: Path) -> None:
    told: list[Any] = []

    def on_vpcs(vpcs: Any) -> dict[str, Exception]:
        told.append(vpcs)
        if len(told) == 1:
            raise OSError("no more files can be open")
        return {}

    with closing(Database(tmp_path / "state.db")) as database:
        loop = NetworkLoop(database, Networks(), on_vpcs, lambda _: None)
        with pytest.raises(OSError, match="no more files"):
            loop.step()
        for _ in range(2):
            loop.step()
    assert told == [[], []]


class Kernel:
    """Makes networks but for VPCs that are told to fail, and counts how often it was asked."""

    lost = ""

    def __init__(self) -> None:
        self.failing: dict[str, Exception] = {}
        self.asked = 0
        self.broken = False

    def heal(self) -> bool:
        return self.broken

    def apply(self, plans: list[VpcPlan]) -> dict[str, Exception]:
        self.asked += 1
        return dict(self.failing)


def test_a_vpc_that_fails_is_tried_again_and_only_who_needs_it_hears_of_it(tmp_path: Path) -> None:
    kernel, wakes, told = Kernel(), list[float](), list[set[str]]()
    kernel.failing["vpc-1"] = ListenRefused("no")

    def on_vpcs(vpcs: Any) -> dict[str, Exception]:
        told.append({plan.vpc.id for plan in vpcs})
        return {}

    with closing(Database(tmp_path / "state.db")) as database:
        with database.write() as tx:
            for name in ("vpc-0", "vpc-1"):
                tx.add(Vpc(name, "10.0.0.0/16"))
        loop = NetworkLoop(database, kernel, on_vpcs, wakes.append)
        with pytest.raises(ListenRefused):
            loop.step()
        loop.sync()
        loop.sync({"vpc-0"})
        with pytest.raises(ListenRefused):
            loop.sync({"vpc-0", "vpc-1"})
        # All can be listened in that could be before: who cannot be says so itself.
        assert told == [{"vpc-0", "vpc-1"}] * 4
        assert (kernel.asked, wakes) == (4, [1.0, 2.0, 4.0, 8.0])
        kernel.failing.clear()
        loop.step()
        loop.step()
        assert kernel.asked == 5
        kernel.failing["vpc-0"] = ListenRefused("no")
        with database.write() as tx:
            tx.add(Vpc("vpc-2", "10.0.0.0/16"))
        loop.sync({"vpc-2"})
        assert wakes[4:] == [1.0]


def test_a_vpc_where_nobody_listens_is_one_that_fails(tmp_path: Path) -> None:
    refused: dict[str, Exception] = {"vpc-0": ListenRefused("no")}
    with closing(Database(tmp_path / "state.db")) as database:
        with database.write() as tx:
            tx.add(Vpc("vpc-0", "10.0.0.0/16"))
        loop = NetworkLoop(database, Kernel(), lambda _: dict(refused), lambda _: None)
        with pytest.raises(ListenRefused):
            loop.sync({"vpc-0"})
        loop.sync()
        refused.clear()
        loop.sync({"vpc-0"})


def test_an_interface_that_its_server_has_by_now_is_no_new_plan(tmp_path: Path) -> None:
    kernel = Kernel()
    with closing(Database(tmp_path / "state.db")) as database:
        loop = NetworkLoop(database, kernel, lambda _: {}, lambda _: None)
        with database.write() as tx:
            tx.add(Vpc("vpc-1", "10.0.0.0/16"))
            tx.add(Subnet("subnet-1", "vpc-1", "10.0.1.0/24", "us-east-1a"))
            made = NetworkInterface("eni-1", "vpc-1", "subnet-1", "02:00:00:00:00:01", "10.0.1.5", (), tx.now)
            tx.add(replace(made, attachment="attaching"))
        loop.step()
        with database.write() as tx:
            tx.save(replace(made, attachment="attached"))
        loop.step()
        assert kernel.asked == 1
        with database.write() as tx:
            tx.save(replace(made, attachment="attached", group_ids=("sg-1",)))
        loop.step()
        assert kernel.asked == 2


def test_what_the_kernel_has_lost_is_applied_again(tmp_path: Path) -> None:
    kernel = Kernel()
    with closing(Database(tmp_path / "state.db")) as database:
        loop = NetworkLoop(database, kernel, lambda _: {}, lambda _: None)
        loop.step()
        loop.look()
        assert kernel.asked == 1
        kernel.broken = True
        loop.look()
        assert kernel.asked == 2
        kernel.broken = False
        loop.look()
        loop.step()
        assert kernel.asked == 2
