"""A cloud without root: its user is root in private namespaces, and only there. See place/own_namespaces.py."""

from __future__ import annotations

from pathlib import Path

MARK = Path("/run/.skylift-rootless")
"""A file in these namespaces. It has the path of the state directory."""

STORED = 2_000_065_536
"""The id of an image's root on the disk. Without root there is one range of ids, so each server has this one, too."""

UIDS = 65536


def rootless() -> bool:
    """Whether this process is in such namespaces."""
    return MARK.exists()
