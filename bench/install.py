"""How large is a plain install? A fresh virtual environment with `pip install .`, by package.

    python bench/install.py

Shown is what the files hold, compiled modules included, and what they take on the disk. The floor is the environment
before the install: it has pip in it, and before Python 3.12 setuptools.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

REPOSITORY = Path(__file__).parent.parent
MB = 1_000_000
SHOWN = 14

LIST = """
import importlib.metadata as metadata
import os
for each in metadata.distributions():
    for file in each.files or ():
        print(each.metadata["Name"], os.path.realpath(file.locate()), sep="\\t")
"""


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="skylift-install-") as directory:
        place = Path(directory)
        subprocess.run([sys.executable, "-m", "venv", directory], check=True)
        empty, empty_disk = sizes(place)
        python = place / "bin/python"
        subprocess.run([python, "-m", "pip", "install", "--quiet", str(REPOSITORY)], check=True)
        whole, disk = sizes(place)
        print(f"Python {sys.version.split()[0]}: {whole / MB:.1f} MB in files, {disk / MB:.1f} MB on disk")
        print(f"  of which the empty environment: {empty / MB:.1f} MB, {empty_disk / MB:.1f} MB on disk\n")
        for name, size in packages(python).most_common(SHOWN):
            print(f"  {name:24}{size / MB:7.1f} MB")


def sizes(top: Path) -> tuple[int, int]:
    """Bytes in files, and bytes of the disk's blocks, everything below `top`."""
    found = [path.lstat() for path in (top, *top.rglob("*"))]
    return sum(each.st_size for each in found), sum(each.st_blocks * 512 for each in found)


def packages(python: Path) -> Counter[str]:
    """Bytes by distribution, as its own list of files has them."""
    listed = subprocess.run([python, "-c", LIST], capture_output=True, text=True, check=True).stdout
    found: Counter[str] = Counter()
    for line in listed.splitlines():
        name, path = line.split("\t")
        if Path(path).exists():
            found[name] += Path(path).stat().st_size
    return found


if __name__ == "__main__":
    main()
