from __future__ import annotations

from collections.abc import Iterator

import pytest
from ec2_fixtures import Cloud, open_cloud
from identity_fixtures import Account
from support.fresh_state import quick_directory


@pytest.fixture
def cloud() -> Iterator[Cloud]:
    """An account in us-east-1 with its default VPC and one image for each architecture."""
    with quick_directory() as directory:
        opened = open_cloud(directory)
        yield opened
        opened.database.close()


@pytest.fixture
def account() -> Iterator[Account]:
    with quick_directory() as directory:
        opened = Account(directory)
        yield opened
        opened.database.close()
