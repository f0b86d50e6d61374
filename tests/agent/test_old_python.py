"""The supervisor on the oldest Python of a server: Debian 11's 3.9. Its tests run again, as they are.

Debian 11 is fetched once a machine. Its /usr lies below this machine's, so that only what is missing here is its own,
for the processes of this test alone.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from support.shared_images import KEPT, one_at_a_time

REPOSITORY = Path(__file__).parents[2]
BELOW = 'mount -t overlay -o "ro,lowerdir=/usr:$1/usr" overlay /usr; shift; exec "$@"'


def debian_11() -> Path:
    place = KEPT / "debian11"
    KEPT.mkdir(mode=0o755, parents=True, exist_ok=True)
    with one_at_a_time(place):
        if not place.exists():
            with tempfile.TemporaryDirectory(prefix="debian11-", dir=KEPT) as building:
                root = Path(building) / "root"
                options = ["--mode=root", "--variant=essential", "--include=python3"]
                subprocess.run(["mmdebstrap", *options, "bullseye", str(root)], check=True)
                root.rename(place)
    return place


@pytest.mark.real
@pytest.mark.nightly
def test_the_supervisor_passes_its_tests_on_python_39() -> None:
    inside = ["unshare", "--mount", "sh", "-ec", BELOW, "sh", str(debian_11())]
    python = "/usr/bin/python3.9"
    version = subprocess.run([*inside, python, "--version"], capture_output=True, text=True, check=True)
    assert version.stdout.startswith("Python 3.9.")
    tests = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-n",
        "4",
        "-p",
        "no:cacheprovider",
        "-m",
        "supervisor",
        "tests/agent",
        "tests/client",
    ]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    done = subprocess.run(
        [*inside, *tests],
        cwd=REPOSITORY,
        env={**environment, "SKYLIFT_TEST_SERVERS_PYTHON": python},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-5000:]
