"""A few rounds of chaos; `python tests/chaos.py` has hundreds."""

from __future__ import annotations

import pytest
from chaos import Chaos
from support.real_cloud import RealCloud

pytestmark = pytest.mark.real


def test_jobs_that_are_struck_come_to_a_named_end(own_cloud: RealCloud) -> None:
    chaos = Chaos(own_cloud, seed="few")
    chaos.run(rounds=4)
    assert chaos.blows.total() >= 3
    assert chaos.ends["failed"] > 0, chaos.ends
