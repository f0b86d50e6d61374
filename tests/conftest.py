"""What several rooms' tests share: the image that real servers start from, and clients of AWS; each is made once."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from shared_images import share_images

from skylift import catalogue
from skylift.cloud.compute.image import ensure_image
from skylift.cloud.home import Home

# What decides about a change is the same each time, whatever else the machine is doing. To hunt with other examples:
# `pytest --hypothesis-profile=hunt`.
SLOW = [HealthCheck.too_slow]
settings.register_profile("same", derandomize=True, deadline=None, suppress_health_check=SLOW)
settings.register_profile("hunt", max_examples=1000, deadline=None, suppress_health_check=SLOW)
settings.load_profile("same")

CLIENTS = ("s3fs>=2025.1", "s3cmd>=2.4", "apache-libcloud>=3.9", "paramiko>=4")


def pytest_configure(config: pytest.Config) -> None:
    """Root's data of the tests' clouds are in a directory of this run's own, which its other processes are told of."""
    if "SKYLIFT_DATA" in os.environ:
        return
    # Everything on the way to it has to be root's, which a temporary directory is not.
    root = os.geteuid() == 0
    place = Path(f"/var/lib/skylift-tests-{os.getpid()}") if root else Path(tempfile.mkdtemp(prefix="sky-"))
    os.environ["SKYLIFT_DATA"] = str(place)
    config.add_cleanup(lambda: shutil.rmtree(place, ignore_errors=True))


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Before any fixture: building an image takes half a minute, and root."""
    if item.get_closest_marker("real") and os.geteuid() != 0:
        pytest.skip("servers are made of namespaces, mounts and cgroups: run this test as root")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    """A test that failed with a real cloud tells what there is to see of it, before that is taken down."""
    report = yield
    if report.failed and "real_cloud" in sys.modules:
        for cloud in sys.modules["real_cloud"].UP:
            report.sections.append((f"the cloud of {cloud.home.path}", cloud.facts()))
    return report


@pytest.fixture(autouse=True)
def packaged_figures() -> Iterator[None]:
    """A command that a test ran may have turned to a user's own figures: the next test has the package's again."""
    yield
    catalogue.use(None)


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory of this run of the tests, the same one in each process that takes part."""
    own = tmp_path_factory.getbasetemp()
    return own.parent if "PYTEST_XDIST_WORKER" in os.environ else own


@contextmanager
def one_at_a_time(path: Path) -> Iterator[None]:
    """Among the processes that share the run."""
    with path.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@pytest.fixture(scope="session")
def image_home(shared: Path) -> Home:
    """A state directory whose data have the default image, as all of the same user have it.

    SKYLIFT_TEST_IMAGES names a directory that outlives the tests, so that a second run does not build again.
    """
    home = Home(shared / "image-home")
    images = home.data.images
    kept = os.environ.get("SKYLIFT_TEST_IMAGES")
    with one_at_a_time(shared / "image-home"):
        images.mkdir(mode=0o711, parents=True, exist_ok=True)
        if kept:
            share_images(Path(kept), images)
        ensure_image(home.data, lambda fraction, text: None)
        if kept:
            share_images(images, Path(kept))
    return home


@pytest.fixture(scope="session")
def clients(shared: Path) -> Path:
    """The programs of an environment with other clients of AWS: s3fs needs another botocore than the AWS CLI does."""
    place = shared / "clients"
    uv = [sys.executable, "-m", "uv"]
    with one_at_a_time(place):
        if not (place / "complete").exists():
            subprocess.run([*uv, "venv", "--quiet", "--python", sys.executable, str(place)], check=True)
            subprocess.run(
                [*uv, "pip", "install", "--quiet", "--python", str(place / "bin/python"), *CLIENTS],
                check=True,
            )
            (place / "complete").touch()
    return place / "bin"
