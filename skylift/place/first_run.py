"""What the first client of a cloud would have to make, made while the cloud starts and the user waits for that."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from skylift.client.errors import SkyliftError
from skylift.client.job.cache import Cache
from skylift.client.job.settings import Credentials, NewestImage, Secret, Settings
from skylift.client.ship.archive import SUPERVISOR, boot_archive, whole_archive
from skylift.cloud.state.home import Home

CACHE = "cache"
"""The folder of the state directory with what clients have made. See Cache."""


@contextmanager
def cache_filled(home: Home) -> Iterator[None]:
    """Fill the cache of a state directory in which nothing has run. This would take the first run half a second.

    The files are the calling user's. For somebody else nothing is made: root writes nothing into a user's directory.
    """
    filling = threading.Thread(target=_fill, args=(home,))
    needed = home.owner.uid == os.geteuid() and not (home.path / CACHE / SUPERVISOR).exists()
    if needed:
        filling.start()
    try:
        yield
    finally:
        if needed:
            filling.join()


def _fill(home: Home) -> None:
    """Without a call to any service. What is in the way is told by the run that it is in the way of."""
    from skylift.client.remote.api import Api

    cache = Cache(home.path / CACHE)
    settings = Settings(
        region="us-east-1",
        key_dir=home.path,
        image=NewestImage(pattern="", owners=()),
        caller_address=lambda: "",
        endpoint_url="http://127.0.0.1",
        credentials=Credentials("none", Secret("none")),
        cache=cache,
    )
    with suppress(SkyliftError, OSError):
        Api(settings).warm()
        boot_archive(cache)
        whole_archive(cache)
