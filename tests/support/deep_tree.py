"""Folders in folders, as a job makes them that wants them to stay."""

from __future__ import annotations

import os
from pathlib import Path

MAKE = """
import os, sys
os.makedirs(sys.argv[1], exist_ok=True)
os.chdir(sys.argv[1])
for _ in range(int(sys.argv[2])):
    os.mkdir("d")
    os.chdir("d")
open("end", "w").close()
"""
"""A program for a server: the folder, and how many below it."""


def lengthen(top: Path, length: int) -> None:
    """Make a file whose whole path has so many bytes, in folders whose names are as long as they may be."""
    here, left = os.open(top, os.O_RDONLY), length - len(os.fsencode(top))
    while left > 256:
        name = "n" * min(255, left - 3)
        os.mkdir(name, dir_fd=here)
        inner = os.open(name, os.O_RDONLY, dir_fd=here)
        os.close(here)
        here, left = inner, left - len(name) - 1
    os.close(os.open("n" * (left - 1), os.O_CREAT | os.O_WRONLY, dir_fd=here))
    os.close(here)


def deepen(tree: Path, levels: int) -> None:
    """Make so many folders below this one, with a file at the end."""
    tree.mkdir(exist_ok=True)
    here = os.open(tree, os.O_RDONLY)
    for _ in range(levels):
        os.mkdir("d", dir_fd=here)
        inner = os.open("d", os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = inner
    os.close(os.open("end", os.O_CREAT | os.O_WRONLY, dir_fd=here))
    os.close(here)
