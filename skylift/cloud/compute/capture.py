"""A server's disk as the root directory of a new image: what it wrote, laid over the image that it was started from.

CaptureFailed   the disk could not be copied; says which step and what the kernel or the program said
"""

from __future__ import annotations

import secrets
import shutil
import subprocess
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

from skylift.cloud.compute.oci import UIDS
from skylift.cloud.durable import sync_directory

# Mounted where nobody else sees it, and gone with the process, however that ends. The writes come first through a
# mount that takes the server's uids back to those that images have; overlayfs then applies what was deleted or
# replaced. The mount points are in memory under a name of ours: a path with a colon could not be a lower directory.
_MERGE = r"""
set -e
mount -t tmpfs -o mode=0700 tmpfs "$1"
mkdir "$1/writes" "$1/image" "$1/whole"
mount --bind -o "X-mount.idmap=b:$4:0:$5" "$3" "$1/writes"
mount --bind "$2" "$1/image"
mount -t overlay -o "ro,lowerdir=$1/writes:$1/image" overlay "$1/whole"
cp --archive --one-file-system "$1/whole/." "$6"
sync --file-system "$6"
"""


GIB = 1 << 30
ROOM_BESIDES = 128 << 20
"""What a file system needs beside its files: a journal, tables of inodes."""

UNFINISHED = ".making-"
"""How names begin of what is not to outlive the process that makes it."""


class CaptureFailed(Exception):
    """A server's disk could not be copied."""


class Captures:
    """The root directories of images that were made from servers, each in `place/ID/root`.

    `scratch` is a directory for mounts of the copying process.
    """

    def __init__(self, place: Path, scratch: Path) -> None:
        self._place = place
        self._scratch = scratch

    def root(self, image_id: str) -> Path:
        return self._place / image_id / "root"

    def take(
        self,
        image_id: str,
        *,
        lower: Path,
        disk: Path,
        uid_base: int,
        held: Callable[[], AbstractContextManager[None]] | None,
    ) -> Path:
        """Make the image's root directory. `lower` is the root below the disk; where `held` is given, the server runs
        and is held with it while its writes are copied. Raises CaptureFailed, with nothing left of the attempt."""
        final = self._place / image_id
        making = self._place / f"{UNFINISHED}{image_id}"
        shutil.rmtree(making, ignore_errors=True)
        try:
            making.mkdir()
            writes = disk / "upper"
            if held is not None:
                # Only the writes have to be copied in the meantime: they are few, the image is large and never changes.
                with held():
                    _run(["cp", "--archive", str(writes), str(making / "writes")])
                writes = making / "writes"
            self._merge(lower, writes, uid_base, making / "root")
            shutil.rmtree(making / "writes", ignore_errors=True)
            if final.exists():
                shutil.rmtree(final)
            making.rename(final)
            sync_directory(self._place)
        except OSError as error:
            raise CaptureFailed(f"{error.filename or making}: {error.strerror}") from error
        finally:
            shutil.rmtree(making, ignore_errors=True)
        return final / "root"

    def gib(self, tree: Path) -> int:
        """How large a file system must be for what is in this root directory."""
        used = sum(path.lstat().st_blocks for path in tree.rglob("*")) * 512
        return -(-(used + used // 16 + ROOM_BESIDES) // GIB)

    def remove(self, tree: Path) -> None:
        """A root directory that was made for a moment."""
        shutil.rmtree(tree.parent)

    def keep(self, needed: set[Path]) -> None:
        """Remove every root directory but these, and what unfinished copies have left."""
        for entry in self._place.iterdir():
            if entry / "root" not in needed and not entry.name.startswith(UNFINISHED):
                shutil.rmtree(entry)

    def sweep(self) -> None:
        """At start: name what unfinished copies have left so that `keep` removes it, which takes a while."""
        for entry in self._place.glob(f"{UNFINISHED}*"):
            entry.rename(self._place / f".unfinished-{secrets.token_hex(4)}")

    def _merge(self, lower: Path, writes: Path, uid_base: int, root: Path) -> None:
        root.mkdir()
        self._scratch.mkdir(exist_ok=True)
        arguments = (self._scratch, lower, writes, uid_base, UIDS, root)
        _run(
            [
                *("setpriv", "--pdeathsig=KILL"),
                # With a /proc of its own, by which mount(8) finds the process that it makes a user namespace with.
                *("unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"),
                *("sh", "-c", _MERGE, "merge", *(str(argument) for argument in arguments)),
            ]
        )


def _run(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
    if done.returncode != 0:
        last = (done.stderr.strip() or f"exit code {done.returncode}").splitlines()[-1]
        raise CaptureFailed(f"the disk could not be copied: {last}")
