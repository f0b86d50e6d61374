"""Deletion of what servers have made.

A job can nest folders without end, or make millions of files. So a tree is renamed first: that takes no time, and
nothing in the tree can prevent it. rm(1) then deletes it: it copes with any depth, follows no link, and keeps none of
our busy threads waiting.

NotRemoved   something in the tree cannot be deleted; says what
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable
from pathlib import Path

from skylift.cloud.compute.disk.mount_table import mounted_in
from skylift.cloud.compute.error import ComputeError
from skylift.cloud.compute.program import begin, last_words

_MARK = ".removed-"


class NotRemoved(ComputeError):
    """A tree could not be deleted, or not all of it."""


def set_aside(tree: Path) -> Path:
    """Renames a tree, in its directory, to a name that marks it for deletion. Raises OSError."""
    return tree.rename(tree.with_name(f"{_MARK}{secrets.token_hex(8)}"))


def is_aside(tree: Path) -> bool:
    return tree.name.startswith(_MARK)


def trees_aside(places: Iterable[Path]) -> list[Path]:
    """What is still to be deleted in these directories. Raises PermissionError."""
    return [each for place in places if place.exists() for each in place.iterdir() if is_aside(each)]


class Removal:
    """The deletion of a tree, which is under way from here on. Raises NotRemoved where something is mounted in it."""

    def __init__(self, tree: Path) -> None:
        self._tree = tree
        if inside := mounted_in(tree):
            raise NotRemoved(f"something is mounted at {inside[0]}")
        self._rm = begin(["rm", "--recursive", "--force", "--one-file-system", "--", str(tree)])

    def wait(self) -> None:
        """Raises NotRemoved."""
        said = last_words(self._rm)
        if self._rm.returncode != 0:
            raise NotRemoved(f"{self._tree} cannot be deleted: {said}")

    def stop(self) -> None:
        self._rm.kill()
