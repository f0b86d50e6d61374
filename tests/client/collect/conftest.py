from __future__ import annotations

import pytest
from stored_results import BUCKET

from skylift.client.job.settings import Settings
from skylift.client.launch.bucket import ensure_bucket
from skylift.client.remote.api import Api


@pytest.fixture
def bucket(api: Api, settings: Settings) -> str:
    ensure_bucket(api, BUCKET)
    return BUCKET
