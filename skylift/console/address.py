"""Where the console listens: another address and port at each start, and another key for its links and cookies.

A browser keeps cookies for an address, and a page's scripts for its address and port: those that another user of this
machine has left where a console once was, or will be, are at none of a later one. Public addresses of servers are
127.32.0.0 to 127.223.255.255 (see loopback ranges of the cloud), so the console is above them.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import secrets
import socket
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from skylift.client.errors import UsageError
from skylift.client.job.settings import Secret
from skylift.client.remote.socket_owner import listener_at, owners

_FIRST, _LAST = 224, 253


@dataclass(frozen=True)
class Place:
    """Of one console, as long as it is up."""

    address: str
    port: int
    key: Secret = field(repr=False)

    @property
    def host(self) -> str:
        """As the browser's `Host` must have it."""
        return f"{self.address}:{self.port}"

    @property
    def origin(self) -> str:
        return f"http://{self.host}"


LOCAL = "local"
"""The name of the place of the console for this machine's cloud."""


def aws_name(caller: str, region: str) -> str:
    """The name of the place of an AWS account's console. A console acts as one caller, in one region: another one has
    another place, so that nobody who asks for it is led to this one."""
    return f"aws-{region}-{hashlib.sha256(caller.encode()).hexdigest()[:16]}"


def find_running(home: Path, name: str) -> Place | None:
    """The place of the console with this name that is up. Only the very socket that its file names is believed."""
    with suppress(OSError, ValueError, KeyError, TypeError):
        descriptor = os.open(home / f"console-{name}.json", os.O_RDONLY | os.O_NOFOLLOW)
        with os.fdopen(descriptor) as opened:
            writer = os.fstat(descriptor).st_uid
            found = json.loads(opened.read())
        place = Place(str(found["address"]), int(found["port"]) & 0xFFFF, Secret(found["key"]))
        listener = listener_at((place.address, place.port))
        ours = listener is not None and {writer, listener.uid} <= owners() and listener.number == found["socket"]
        if ours and re.fullmatch("[0-9a-f]{64}", found["key"]):
            return place
    return None


def listen(home: Path, name: str) -> tuple[Place, socket.socket]:
    """A new place and its listening socket, which `find_running` finds. Raises UsageError."""
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        listener.bind((_random_address(), 0))
        listener.listen(128)
        listener_at(listener.getsockname())  # where the kernel does not tell, nobody could be let in
    except OSError as error:
        listener.close()
        raise UsageError(
            f"The console cannot listen at a loopback address of its own: {error.strerror or error}.",
            "It needs one, as Linux has them in 127.0.0.0/8.",
        ) from error
    address, port = listener.getsockname()
    place = Place(address, port, Secret(secrets.token_hex(32)))
    _write(home, name, place, os.fstat(listener.fileno()).st_ino)
    return place, listener


def _write(home: Path, name: str, place: Place, number: int) -> None:
    content = {"address": place.address, "port": place.port, "key": place.key.reveal(), "socket": number}
    file = home / f"console-{name}.json"
    try:
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
        written = file.with_name(f".console.{secrets.token_hex(4)}")
        with os.fdopen(os.open(written, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600), "w") as opened:
            opened.write(json.dumps(content))
        written.replace(file)
    except OSError as error:
        raise UsageError(
            f"The console's key cannot be written to {file}: {error.strerror}.",
            "Set SKYLIFT_HOME to a directory that you may write to.",
        ) from error


def _random_address() -> str:
    first = _FIRST + secrets.randbelow(_LAST - _FIRST + 1)
    return f"127.{first}.{secrets.randbelow(256)}.{1 + secrets.randbelow(254)}"
