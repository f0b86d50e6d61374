"""A server's disk as the root directory of a new image: what it wrote, laid over the image that it was started from.

Where both are on one file system, what is the same in both is there once: the new root has hard links to the image's
files, and only what the server wrote is copied. Both are only ever mounted read-only. Elsewhere all of it is copied.

CaptureFailed   the disk could not be copied; says which step and what the kernel or the program said
"""

from __future__ import annotations

import errno
import logging
import os
import shutil
import stat
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path

from skylift.cloud.compute.disk.removal import is_aside, set_aside
from skylift.cloud.compute.error import ComputeError
from skylift.cloud.compute.image.stored import FILL, stored_as, stored_from
from skylift.cloud.compute.program import begin, last_words
from skylift.cloud.compute.server.oci import UIDS
from skylift.cloud.state.durable import sync_directory

# The mounts are private, and go with the process, however that ends. The writes come first, through a
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
# The server's writes as an image has them, for `Overlay` to lay over the hard links.
_TAKE = r"""
set -e
mount -t tmpfs -o mode=0700 tmpfs "$1"
mkdir "$1/writes"
mount --bind -o "$3" "$2" "$1/writes"
cp --archive --one-file-system "$1/writes" "$4"
"""
# In MiB: a file system needs a journal and tables of inodes in addition to its files.
_PACK = r"""
used=$(du --summarize --one-file-system --block-size=1M "$1/whole" | cut -f 1)
needed=$((used + used / 16 + 128))
if [ "$needed" -lt "$7" ]; then needed=$7; fi
truncate --size="$(((needed + 1023) / 1024))G" "$6"
fill "$1/whole" "$6" "$1/image"
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

log = logging.getLogger(__name__)


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
            writes = making / "writes"
            # Only the writes have to be copied while the server is held: they are few.
            with held() if held is not None else nullcontext():
                self._apart(_TAKE, disk / "upper", stored_from(uid_base), writes)
            if lower.stat().st_dev == making.stat().st_dev and Overlay(lower, writes, making / "root").merge():
                _run(["sync", "--file-system", str(making / "root")])
            else:
                _delete(making / "root")
                (making / "root").mkdir()
                self._apart(_MERGE + _COPY, lower, writes, "ro", "ro", making / "root")
            _delete(writes)
        return self.root(image_id)

    def unpack(self, image_id: str, file: Path) -> Path:
        """Makes the image's root directory from a volume's file system. Raises CaptureFailed, as `take` does."""
        with self._appearing(image_id) as making:
            self._apart(_UNPACK, file, making / "root", stored_from(0))
        return self.root(image_id)

    @contextmanager
    def _appearing(self, image_id: str) -> Iterator[Path]:
        """A directory to make `root` in, which has its name once that is whole."""
        final = self._place / image_id
        making = self._place / f"{_UNFINISHED}{image_id}"
        try:
            _set_aside(making)
            making.mkdir(mode=0o700)
            (making / "root").mkdir()
            yield making
            _set_aside(final)
            making.rename(final)
            sync_directory(self._place)
        except OSError as error:
            raise CaptureFailed(f"{error.filename or making}: {error.strerror}") from error
        finally:
            _set_aside(making)

    def pack(self, file: Path, size_gib: int, *, lower: Path, disk: Path, uid_base: int) -> None:
        """Make a file system of at least this size, with all that a server saw that has ended. Raises CaptureFailed."""
        seen = f"X-mount.idmap=b:{uid_base}:0:{UIDS}"
        self._apart(FILL + _MERGE + _PACK, lower, disk / "upper", stored_as(0), seen, file, size_gib * 1024)

    def keep(self, needed: set[Path]) -> None:
        """Remove every root directory but these."""
        for entry in self._place.iterdir():
            if entry / "root" not in needed and not entry.name.startswith(_UNFINISHED) and not is_aside(entry):
                _set_aside(entry)

    def sweep(self) -> None:
        """At start: remove what unfinished copies have left."""
        for entry in self._place.glob(f"{_UNFINISHED}*"):
            _set_aside(entry)

    def _apart(self, script: str, *arguments: object) -> None:
        """Runs a script in a private mount namespace. Its first argument is the scratch directory, where it mounts."""
        self._scratch.mkdir(exist_ok=True)
        _run(
            [
                *("setpriv", "--pdeathsig=KILL"),
                # mount(8) makes idmapped mounts with a child process, which it finds in this pid namespace's /proc.
                *("unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"),
                *("sh", "-c", script, "copy", *(str(argument) for argument in (self._scratch, *arguments))),
            ]
        )


class Overlay:
    """The merged tree of an overlay, made of hard links and renamed files. `upper` is used up.

    What is in `upper` may be a hostile server's: its names are taken from the top down, and a directory is entered only
    where the tree has a directory too, so that no link leads out. A file of `lower` is never written to.
    """

    def __init__(self, lower: Path, upper: Path, tree: Path) -> None:
        self._lower, self._upper, self._tree = lower, upper, tree

    def merge(self) -> bool:
        """False where hard links cannot do it: a file has as many as it may have, or the kernel has noted a directory
        under another name. `upper` is whole then."""
        if not self._is_plain():
            return False
        try:
            _run(["cp", "--archive", "--link", "--one-file-system", f"{self._lower}/.", str(self._tree)])
        except CaptureFailed:
            return False
        self._lay(self._upper, self._tree)
        return True

    def _is_plain(self) -> bool:
        """Whether overlayfs finds all of it where its name says, and no deeper than we go."""
        left = [(self._upper, 0)]
        while left:
            folder, depth = left.pop()
            if depth > _DEEPEST:
                return False
            for entry in os.scandir(folder):
                path = Path(entry.path)
                if any(_attribute(path, name) is not None for name in ("redirect", "metacopy")):
                    return False
                if entry.is_dir(follow_symlinks=False):
                    left.append((path, depth + 1))
        return True

    def _lay(self, upper: Path, place: Path) -> None:
        """Applies the upper directory's entries to an existing directory, as overlayfs would show them."""
        for above in sorted(upper.iterdir()):
            below = place / above.name
            if _is_directory(above):
                if not _is_directory(below) or _attribute(above, "opaque") is not None:
                    _remove(below)
                    below.mkdir()
                self._lay(above, below)
            else:
                _remove(below)
                if not _is_whiteout(above):
                    above.rename(below)
                    _forget_overlay(below)
        # Last: each name that is made or removed in it changes its times.
        owner = os.lstat(upper)
        os.chown(place, owner.st_uid, owner.st_gid)
        for attribute in os.listxattr(place):
            os.removexattr(place, attribute)
        shutil.copystat(upper, place)
        _forget_overlay(place)


_DEEPEST = 200
_OVERLAY = "trusted.overlay."


def _is_whiteout(path: Path) -> bool:
    found = os.lstat(path)
    return stat.S_ISCHR(found.st_mode) and found.st_rdev == 0


def _is_directory(path: Path) -> bool:
    return path.is_dir() and not path.is_symlink()


def _attribute(path: Path, name: str) -> bytes | None:
    try:
        return os.getxattr(path, _OVERLAY + name, follow_symlinks=False)
    except OSError as error:
        if error.errno in (errno.ENODATA, errno.ENOTSUP):
            return None
        raise


def _forget_overlay(path: Path) -> None:
    for name in os.listxattr(path, follow_symlinks=False):
        if name.startswith(_OVERLAY):
            os.removexattr(path, name, follow_symlinks=False)


def _set_aside(tree: Path) -> None:
    """It stays where even its name cannot be changed; what comes next says so."""
    try:
        set_aside(tree)
    except FileNotFoundError:
        pass
    except OSError as error:
        log.error("%s stays: %s", tree, error)


def _remove(path: Path) -> None:
    if _is_directory(path):
        _delete(path)
    else:
        path.unlink(missing_ok=True)


def _delete(directory: Path) -> None:
    """Delete a directory with a program that copes with any depth of a server's directories."""
    _run(["rm", "--recursive", "--force", "--one-file-system", str(directory)])


def _run(command: list[str]) -> None:
    program = begin(command)
    said = last_words(program)
    if program.returncode != 0:
        raise CaptureFailed(f"the disk could not be copied: {said}")
