"""A server's disk as the root directory of a new image: what it wrote, laid over the image that it was started from.

CaptureFailed   the disk could not be copied; says which step and what the kernel or the program said
"""

from __future__ import annotations

import secrets
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from skylift.cloud.compute.error import ComputeError
from skylift.cloud.compute.image.stored import stored_as, stored_from
from skylift.cloud.compute.server.oci import UIDS
from skylift.cloud.state.durable import sync_directory

# Mounted where nobody else sees it, and gone with the process, however that ends. The writes come first, through a
# mount that takes the server's uids to those of images, on the disk or as a server sees them; overlayfs then applies
# what was deleted or replaced. The mount points are in memory under a name of ours: a path with a colon could not be a
# lower directory.
_MERGE = r"""
set -e
mount -t tmpfs -o mode=0700 tmpfs "$1"
mkdir "$1/writes" "$1/image" "$1/whole"
mount --bind -o "$5" "$3" "$1/writes"
mount --bind -o "$4" "$2" "$1/image"
mount -t overlay -o "ro,lowerdir=$1/writes:$1/image" overlay "$1/whole"
"""
_COPY = r"""
cp --archive --one-file-system "$1/whole/." "$6"
sync --file-system "$6"
"""
# In MiB: a file system needs a journal and tables of inodes in addition to its files.
_PACK = r"""
used=$(du --summarize --one-file-system --block-size=1M "$1/whole" | cut -f 1)
needed=$((used + used / 16 + 128))
if [ "$needed" -lt "$7" ]; then needed=$7; fi
truncate --size="$(((needed + 1023) / 1024))G" "$6"
mkfs.ext4 -q -F -m 0 -E lazy_itable_init=1,lazy_journal_init=1,nodiscard -d "$1/whole" "$6"
"""


# The volume of a server that has ended, or one made to be like it: `mkfs` leaves a directory in it that no root has.
_UNPACK = r"""
set -e
mount -t tmpfs -o mode=0700 tmpfs "$1"
mkdir "$1/volume"
mount -t ext4 -o "loop,ro,nosuid,nodev,$4" "$2" "$1/volume"
if ! [ -x "$1/volume/usr/bin/tini" ] || ! [ -x "$1/volume/usr/lib/skylift/init" ]; then
    echo "it does not hold the root file system of a server of this cloud" >&2
    exit 1
fi
cp --archive --one-file-system "$1/volume/." "$3"
rm -rf "$3/lost+found"
sync --file-system "$3"
"""

_UNFINISHED = ".making-"


class CaptureFailed(ComputeError):
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
        with self._appearing(image_id) as making:
            writes = disk / "upper"
            if held is not None:
                # Only the writes have to be copied in the meantime: they are few, the image is large and never changes.
                with held():
                    _run(["cp", "--archive", str(writes), str(making / "writes")])
                writes = making / "writes"
            self._apart(_MERGE + _COPY, lower, writes, "ro", stored_from(uid_base), making / "root")
            shutil.rmtree(making / "writes", ignore_errors=True)
        return self.root(image_id)

    def unpack(self, image_id: str, file: Path) -> Path:
        """Make the image's root directory of a file system, that of a volume. Raises CaptureFailed as `take` does."""
        with self._appearing(image_id) as making:
            self._apart(_UNPACK, file, making / "root", stored_from(0))
        return self.root(image_id)

    @contextmanager
    def _appearing(self, image_id: str) -> Iterator[Path]:
        """A directory to make `root` in, which has its name once that is whole."""
        final = self._place / image_id
        making = self._place / f"{_UNFINISHED}{image_id}"
        shutil.rmtree(making, ignore_errors=True)
        try:
            making.mkdir(mode=0o700)
            (making / "root").mkdir()
            yield making
            if final.exists():
                shutil.rmtree(final)
            making.rename(final)
            sync_directory(self._place)
        except OSError as error:
            raise CaptureFailed(f"{error.filename or making}: {error.strerror}") from error
        finally:
            shutil.rmtree(making, ignore_errors=True)

    def pack(self, file: Path, size_gib: int, *, lower: Path, disk: Path, uid_base: int) -> None:
        """Make a file system of at least this size, with all that a server saw that has ended. Raises CaptureFailed."""
        seen = f"X-mount.idmap=b:{uid_base}:0:{UIDS}"
        self._apart(_MERGE + _PACK, lower, disk / "upper", stored_as(0), seen, file, size_gib * 1024)

    def keep(self, needed: set[Path]) -> None:
        """Remove every root directory but these, and what unfinished copies have left."""
        for entry in self._place.iterdir():
            if entry / "root" not in needed and not entry.name.startswith(_UNFINISHED):
                shutil.rmtree(entry)

    def sweep(self) -> None:
        """At start: name what unfinished copies have left so that `keep` removes it, which takes a while."""
        for entry in self._place.glob(f"{_UNFINISHED}*"):
            entry.rename(self._place / f".unfinished-{secrets.token_hex(4)}")

    def _apart(self, script: str, *arguments: object) -> None:
        """Run a script with mounts of its own, below the scratch directory, which is its first argument."""
        self._scratch.mkdir(exist_ok=True)
        _run(
            [
                *("setpriv", "--pdeathsig=KILL"),
                # With a /proc of its own, by which mount(8) finds the process that it makes a user namespace with.
                *("unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"),
                *("sh", "-c", script, "copy", *(str(argument) for argument in (self._scratch, *arguments))),
            ]
        )


def _run(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
    if done.returncode != 0:
        last = (done.stderr.strip() or f"exit code {done.returncode}").splitlines()[-1]
        raise CaptureFailed(f"the disk could not be copied: {last}")
