"""What several rooms' tests share: the image that real servers start from, built once."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from skylift.cloud.compute.image import ensure_image
from skylift.cloud.home import Home


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Before any fixture: building an image takes half a minute, and root."""
    if item.get_closest_marker("real") and os.geteuid() != 0:
        pytest.skip("servers are made of namespaces, mounts and cgroups: run this test as root")


@pytest.fixture(scope="session")
def image_home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    """A state directory with the default image in it, to be read only.

    SKYLIFT_TEST_IMAGES names one that outlives the tests, so that a second run does not build again. The directory
    `images` in another state directory may be a link to this one's.
    """
    kept = os.environ.get("SKYLIFT_TEST_IMAGES")
    home = Home(Path(kept) if kept else tmp_path_factory.mktemp("image-home"))
    ensure_image(home, lambda fraction, text: None)
    return home
