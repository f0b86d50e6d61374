"""An image as one file, which `skylift image export` writes and `skylift setup --image` takes instead of a build.

It is a compressed tar of the root directory, with the image's id as its label, and with the owners that a server sees:
those on a disk are this machine's own.
"""

from __future__ import annotations

import hashlib
import tarfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from skylift.cloud.compute.image.stored import seen_from_inside
from skylift.cloud.state.rootless import rootless

_PIECE = 1 << 20
_TAR = ("tar", "--gzip", "--numeric-owner", "--xattrs", "--xattrs-include=*")
_SAME_EACH_TIME = "exthdr.name=%f,exthdr.mtime=0,globexthdr.name=label,globexthdr.mtime=0,delete=atime,delete=ctime"


class NotTheImage(Exception):
    """The file is another one than was meant, or has another image."""


@dataclass(frozen=True)
class PackedImage:
    """`digest` is what SHA-256 must give for all that `file` has, in hexadecimal digits."""

    file: BinaryIO
    digest: str

    def copy_to(self, place: Path, image: str) -> None:
        """The copy must be at a place where nobody else can change it. Raises NotTheImage and OSError."""
        found = hashlib.sha256()
        with place.open("wb") as copy:
            while piece := self.file.read(_PIECE):
                found.update(piece)
                copy.write(piece)
        if found.hexdigest() != self.digest:
            raise NotTheImage(f"its SHA-256 is {found.hexdigest()}, not {self.digest}")
        try:
            with tarfile.open(place) as archive:
                label = archive.pax_headers.get("GNU.volume.label")
        except (tarfile.TarError, EOFError, zlib.error, RecursionError):
            label = None
        if label != image:
            raise NotTheImage(f"it does not have {image}, which this version of skylift needs here")


def pack_command(root: Path) -> list[str]:
    """Writes the image to standard output. It takes root."""
    options = [f"--label={root.parent.name}", "--sort=name", f"--pax-option={_SAME_EACH_TIME}"]
    return seen_from_inside(root, [*_TAR, "--create", *options, f"--directory={root}", "."])


def unpack_command(copy: Path, root: Path) -> list[str]:
    """tar follows no link on the way, and takes no name with `..` or a slash in front. What --strip-components leaves
    of a name may have one, and is taken."""
    # Only root may make devices. A server gets its own /dev.
    leave_out = ["--exclude=./dev/*"] if rootless() else []
    return [*_TAR, "--extract", "--preserve-permissions", *leave_out, f"--file={copy}", f"--directory={root}"]
