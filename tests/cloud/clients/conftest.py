"""A cloud for each test."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from serverless_cloud import Cloud, serverless_cloud


@pytest.fixture
def cloud(tmp_path: Path) -> Iterator[Cloud]:
    with serverless_cloud(tmp_path) as made:
        yield made
