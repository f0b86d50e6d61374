from __future__ import annotations

import pytest
from ec2_fixtures import Cloud
from scheduler_scene import SchedulerScene


@pytest.fixture
def scene(cloud: Cloud) -> SchedulerScene:
    return SchedulerScene(cloud)
