"""Clouds for the tests that boot servers."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from real_cloud import RealCloud, real_cloud

from skylift.cloud.home import Home


@pytest.fixture(scope="session")
def cloud(image_home: Home) -> Iterator[RealCloud]:
    """The cloud that tests share. Nobody may stop it, or count on being alone in it."""
    with real_cloud(image_home) as shared:
        yield shared


@pytest.fixture(scope="module")
def own_cloud(image_home: Home) -> Iterator[RealCloud]:
    """A cloud for one module, which may do with it what it likes, as long as it is up at the end of each test."""
    with real_cloud(image_home) as own:
        yield own
