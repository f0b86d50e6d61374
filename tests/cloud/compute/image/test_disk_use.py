"""How much of the disk an image takes, whatever is in it."""

from __future__ import annotations

import subprocess
from pathlib import Path

from skylift.cloud.compute.image.image import _disk_use


def test_folders_that_lie_in_each_other_a_thousand_times_and_more(tmp_path: Path) -> None:
    """Python 3.11 walks by recursion, and its own rmtree as well."""
    top = tmp_path / "root"
    try:
        subprocess.run(["mkdir", "-p", str(top / "/".join("d" * 1500))], check=True)
        (top / "file").write_bytes(b"x" * 100_000)
        assert _disk_use(top) >= 100_000
    finally:
        subprocess.run(["rm", "-rf", str(top)], check=True)
