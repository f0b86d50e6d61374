"""A cloud for each test."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from serverless_cloud import Cloud, serverless_cloud
from support.shared_images import one_at_a_time


@pytest.fixture
def cloud(tmp_path: Path) -> Iterator[Cloud]:
    with serverless_cloud(tmp_path) as made:
        yield made


@pytest.fixture(scope="session")
def javascript(shared: Path) -> Path:
    """A directory with the JavaScript SDK's packages; Node.js and npm are the machine's."""
    if shutil.which("npm") is None:
        pytest.skip("Node.js with npm is not installed")
    place = shared / "javascript"
    with one_at_a_time(place):
        if not (place / "complete").exists():
            place.mkdir(exist_ok=True)
            packages = ("@aws-sdk/client-s3@3", "@aws-sdk/s3-request-presigner@3")
            subprocess.run(["npm", "install", "--silent", "--no-audit", *packages], cwd=place, check=True)
            (place / "complete").touch()
    return place


@pytest.fixture(scope="session")
def minio_client(shared: Path) -> Path:
    """The program out of Debian's package, which is not installed for it."""
    if shutil.which("apt-get") is None:
        pytest.skip("MinIO's client is a package of Debian's")
    place = shared / "minio-client"
    with one_at_a_time(place):
        if not (place / "complete").exists():
            place.mkdir(exist_ok=True)
            subprocess.run(["apt-get", "--quiet=2", "download", "minio-client"], cwd=place, check=True)
            (package,) = place.glob("*.deb")
            subprocess.run(["dpkg", "-x", str(package), str(place)], check=True)
            (place / "complete").touch()
    return place / "usr/bin/minio-client"
