"""The owners of images' files on the host's disk: ids that belong to no user and to no server.

An image has many set-uid and set-gid programs. On the disk, its files belong to ids of a separate range, so that none
of them runs as the host's root, not even while the image is being built. Servers, and our own programs, see an image
with the right owners through an idmapped mount.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from skylift.cloud.compute.server.oci import UIDS
from skylift.cloud.compute.server.owner_map import owner_map
from skylift.cloud.state.rootless import STORED, rootless

STORED_UIDS = f"{STORED}-{STORED + UIDS - 1}"


def stored_as(uid_base: int) -> str:
    """mount(8)'s option for a mount that shows an image to processes whose ids begin at `uid_base`."""
    return f"X-mount.idmap=b:{STORED}:{uid_base}:{UIDS}"


def stored_from(uid_base: int) -> str:
    """The same for files that have the ids from `uid_base` on, shown as an image's are on the disk."""
    return f"X-mount.idmap=b:{uid_base}:{STORED}:{UIDS}"


MKFS = "mkfs.ext4 -q -F -m 0 -E lazy_itable_init=1,lazy_journal_init=1,nodiscard"
"""No room is reserved for root, and the inode tables are written when they are needed."""

# A host's disk that is full is an error of `sync` only: `cp` has written to memory, and `umount` says nothing.
# mkfs's own `-d` writes beyond its memory where a server has made a thousand folders in each other.
FILL = f"""
fill() {{
    {MKFS} "$2"
    mount -t ext4 -o loop,nosuid,nodev "$2" "$3"
    cp --archive --one-file-system "$1/." "$3"
    sync --file-system "$3"
    umount "$3"
}}
"""
"""For a script of `sh -e` in a private mount namespace: `fill TREE FILE PLACE` makes a file system in the file from the
tree, and mounts it at the place to fill it."""


_APART = ("unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc")
_INSIDE = 'mount --bind -o "$1" "$2" "$2" && shift 2 && exec "$@"'


def seen_from_inside(tree: Path, command: Iterable[str]) -> list[str]:
    """A command for which the tree's files have the ids that a server sees, 0 for root, also for what it makes there.

    In mount and pid namespaces that end with this process: nothing stays mounted, nothing goes on. It has a /proc of
    its own, by which mount(8) finds the process that it makes a user namespace with.
    """
    if rootless():
        # The user's own id is one in there, too: what the tree is in is the user's.
        users = f"--user=/proc/{os.getpid()}/fd/{owner_map(0, STORED, UIDS, f'{UIDS} 0 1')}"
        return ["nsenter", users, "setpriv", "--pdeathsig=KILL", *_APART, *command]
    return [
        *("setpriv", "--pdeathsig=KILL"),
        *_APART,
        *("sh", "-c", _INSIDE, "inside", stored_as(0), str(tree)),
        *command,
    ]
