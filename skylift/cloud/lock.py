"""One state directory, one cloud."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager

from skylift.cloud.cannot_start import CannotStart
from skylift.cloud.durable import make_directory
from skylift.cloud.home import Home


@contextmanager
def hold(home: Home) -> Iterator[None]:
    """Make the state directory's own directories and be the only cloud that runs in it."""
    try:
        kept = (home.instances, home.images, home.captures, home.objects, home.volumes, home.snapshots)
        for directory in (home.path, *kept):
            make_directory(directory)
        descriptor = os.open(home.lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise CannotStart(
            f"The state directory {home.path} cannot be written: {error.strerror}. Set SKYLIFT_HOME to another one."
        ) from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError:
        raise CannotStart(f"Another process is running the cloud in {home.path}.") from None
    finally:
        os.close(descriptor)
