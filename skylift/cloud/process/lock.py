"""A lock, so that a data directory has one cloud."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager

from skylift.cloud.process.cannot_start import CannotStart
from skylift.cloud.state.data import NotRoots, open_root_directory
from skylift.cloud.state.durable import replace_file
from skylift.cloud.state.home import Home


@contextmanager
def hold(home: Home) -> Iterator[None]:
    """Makes the directories that the cloud works in, and locks them: only one cloud runs there."""
    data = home.data
    try:
        data.make()
        _write_origin(home)
    except NotRoots as error:
        raise CannotStart(f"{error}: only root may change the files of the cloud, which runs as root.") from error
    except OSError as error:
        raise CannotStart(
            f"The data directory {data.path} cannot be written: {error.strerror}. Set SKYLIFT_DATA to another one."
        ) from error
    with open_root_directory(data.path) as directory:
        descriptor = os.open(
            data.lock.name, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600, dir_fd=directory
        )
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            yield
        except BlockingIOError:
            raise CannotStart(f"Another process is running the cloud in {home.path}.") from None
        finally:
            os.close(descriptor)


def _write_origin(home: Home) -> None:
    """Write it unless it is there. A cloud that was killed while it filled the disk has to start again: only its start
    makes room.
    """
    origin = f"{home.path}\n".encode()
    try:
        known = home.data.origin.read_bytes()
    except FileNotFoundError:
        known = b""
    if known != origin:
        replace_file(home.data.origin, origin, 0o600)
