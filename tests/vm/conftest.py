"""A file's tests are the steps of a walk, in a guest of their own."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from guest import Guest, booted


@pytest.fixture(scope="module")
def guest() -> Iterator[Guest]:
    with tempfile.TemporaryDirectory(prefix="skylift-vm-", dir="/var/tmp") as place, booted(Path(place)) as guest:
        yield guest
