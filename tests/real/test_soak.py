"""A few rounds of the soak; a night has hundreds (`tests/soak.py`)."""

from __future__ import annotations

import pytest
from soak import Soak
from support.real_cloud import real_cloud

from skylift.cloud.state.home import Home

pytestmark = pytest.mark.real


def test_five_kills_under_load_lose_nothing_and_leave_nothing(image_home: Home) -> None:
    with real_cloud(image_home) as cloud:
        score = Soak(cloud, seed="suite", images=False).run(kills=5)
    assert score.kills >= 5
    # How much of a load there was is the machine's business; that there was one is not.
    assert score.acknowledged > 0
    assert score.unanswered > 0
