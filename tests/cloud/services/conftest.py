from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from ec2_fixtures import Cloud, open_cloud
from identity_fixtures import Account


@pytest.fixture
def cloud(tmp_path: Path) -> Iterator[Cloud]:
    """An account in us-east-1 with its default VPC and one image for each architecture."""
    opened = open_cloud(tmp_path)
    yield opened
    opened.database.close()


@pytest.fixture
def account(tmp_path: Path) -> Iterator[Account]:
    opened = Account(tmp_path)
    yield opened
    opened.database.close()
