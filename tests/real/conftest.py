"""Clouds for the tests that boot servers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest
from support.real_cloud import RealCloud, real_cloud
from support.real_server import Server

from skylift.cloud.state.home import Home

if TYPE_CHECKING:
    from support.shown_console import Console


@pytest.fixture(scope="session")
def cloud(image_home: Home) -> Iterator[RealCloud]:
    """The cloud that tests share. Nobody may stop it, or count on being alone in it."""
    with real_cloud(image_home) as shared:
        yield shared


@pytest.fixture(scope="session")
def ending(cloud: RealCloud) -> Server:
    """A server that was told to shut down in a minute. Modules that run early ask for it too, so that nobody waits."""
    made = cloud.launch(InstanceInitiatedShutdownBehavior="terminate")
    made.ssh("sudo shutdown -P +1")
    pid, action, due = made.says("sudo cat /run/skylift/shutdown").split()
    assert action == "poweroff"
    assert int(due) > int(made.says("date +%s"))
    assert made.says(f"sudo tr '\\0' ' ' </proc/{pid}/cmdline").endswith("shutdown --asked")
    return made


@pytest.fixture(scope="module")
def own_cloud(image_home: Home) -> Iterator[RealCloud]:
    """A cloud for one module, which may do with it what it likes, as long as it is up at the end of each test."""
    with real_cloud(image_home) as own:
        yield own


@pytest.fixture(scope="module")
def console(cloud: RealCloud) -> Iterator[Console]:
    from support.shown_console import console_of

    made = console_of(cloud)
    yield made
    made.end()
