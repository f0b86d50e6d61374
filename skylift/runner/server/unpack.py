"""Unpacking the archive with the user's files into the job's folder."""

from __future__ import annotations

import hashlib
import os
import pwd
import shutil
import tarfile
from pathlib import Path
from typing import Set

from skylift.runner.server.outcome import Ended
from skylift.runner.server.status import State


def sha256_of(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        for piece in iter(lambda: file.read(1 << 20), b""):
            digest.update(piece)
    return digest.hexdigest()


def make_folder(path: Path, top: Path, user: pwd.struct_passwd) -> None:
    if path != top and not path.parent.exists():
        make_folder(path.parent, top, user)
    if not path.exists():
        path.mkdir(mode=0o755)
        path.chmod(0o755)
        os.chown(str(path), user.pw_uid, user.pw_gid)


def make_room(name: str, place: Path, user: pwd.struct_passwd, folders: Set[Path]) -> Path:
    """Make the folders for an input and return its path. `folders` caches the folders that were made or checked."""
    inner = os.path.normpath(name)
    target = place / inner
    if os.path.isabs(inner) or inner.split("/")[0] in ("..", "."):
        raise Ended(State.BROKEN, "An input has no place in the job's folder: %s" % name)
    if target.parent not in folders:
        make_folder(target.parent, place, user)
        if os.path.realpath(str(target.parent)) != os.path.join(
            os.path.realpath(str(place)), os.path.dirname(inner)
        ).rstrip("/"):
            raise Ended(State.BROKEN, "An input's place is behind a link: %s" % name)
        folders.add(target.parent)
    return target


def clear_away(place: Path) -> None:
    """Remove what an earlier job has left there, on a kept server."""
    if place.is_symlink():
        place.unlink()
    elif place.exists():
        shutil.rmtree(str(place))


def unpack(archive: Path, place: Path, user: pwd.struct_passwd) -> None:
    """Unpack regular files and links, only below `place`. The login user owns all of them."""
    place.parent.mkdir(parents=True, exist_ok=True)
    make_folder(place, place, user)
    folders: Set[Path] = set()
    with tarfile.open(str(archive), "r:gz") as tar:
        for entry in tar:
            if not (entry.isreg() or entry.issym()):
                raise Ended(State.BROKEN, "The bundle has an entry that is neither a file nor a link: %s" % entry.name)
            target = make_room(entry.name, place, user, folders)
            if target.is_symlink() or target.exists():
                target.unlink()
            if entry.issym():
                os.symlink(entry.linkname, str(target))
            else:
                source = tar.extractfile(entry)
                assert source is not None
                with target.open("wb") as file:
                    shutil.copyfileobj(source, file, 1 << 20)
                target.chmod(entry.mode & 0o777)
            os.lchown(str(target), user.pw_uid, user.pw_gid)
