"""How networks follow the store."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from skylift.cloud.compute.plan import VpcPlan
from skylift.cloud.loops.network import NetworkLoop
from skylift.cloud.store.database import Database


class Networks:
    def apply(self, plans: list[VpcPlan]) -> None:
        assert plans == []


def test_who_is_told_of_vpcs_and_fails_is_told_again(tmp_path: Path) -> None:
    told: list[Any] = []

    def on_vpcs(vpcs: Any) -> None:
        told.append(vpcs)
        if len(told) == 1:
            raise OSError("no more files can be open")

    with closing(Database(tmp_path / "state.db")) as database:
        loop = NetworkLoop(database, Networks(), on_vpcs, lambda _: None)
        with pytest.raises(OSError, match="no more files"):
            loop.step()
        for _ in range(2):
            loop.step()
    assert told == [{}, {}]
