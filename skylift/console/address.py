"""Where the console listens: a loopback address of its own, and the key that signs its links and cookies.

Cookies ignore ports. At 127.0.0.1, every forwarded notebook would receive the console's cookie. Public addresses of
servers are 127.32.0.0 to 127.223.255.255 (see loopback ranges of the cloud), so the console is above them.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import secrets
import socket
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from skylift.runner.errors import UsageError
from skylift.runner.job.settings import Secret

PORT = 4530
_FIRST, _LAST = 224, 253
_FORM = re.compile(r"127\.(\d{1,3})\.(\d{1,3})\.(\d{1,3})")


@dataclass(frozen=True)
class Place:
    """The same after a restart, so that a cookie stays good."""

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


def find_place(home: Path, name: str) -> Place:
    """The place of the console with this name in this state directory; a new one where there is none that can be read.
    Raises UsageError."""
    file = home / f"console-{name}.json"
    with suppress(OSError, ValueError, KeyError, TypeError):
        return _parse(json.loads(file.read_text()))
    place = Place(_random_address(), PORT, Secret(secrets.token_hex(32)))
    content = json.dumps({"address": place.address, "port": place.port, "key": place.key.reveal()})
    try:
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
        written = file.with_name(f".console.{secrets.token_hex(4)}")
        with os.fdopen(os.open(written, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600), "w") as opened:
            opened.write(content)
        written.replace(file)
    except OSError as error:
        raise UsageError(
            f"The console's key cannot be written to {file}: {error.strerror}.",
            "Set SKYLIFT_HOME to a directory that you may write to.",
        ) from error
    return place


def _random_address() -> str:
    first = _FIRST + secrets.randbelow(_LAST - _FIRST + 1)
    return f"127.{first}.{secrets.randbelow(256)}.{1 + secrets.randbelow(254)}"


def _parse(found: dict[str, object]) -> Place:
    """Raises ValueError for what this file was never given by us."""
    address, port, key = str(found["address"]), found["port"], str(found["key"])
    parts = _FORM.fullmatch(address)
    if parts is None or not _FIRST <= int(parts[1]) <= _LAST or any(int(part) > 255 for part in parts.groups()):
        raise ValueError(address)
    if not isinstance(port, int) or not 1024 <= port <= 65535 or not re.fullmatch("[0-9a-f]{64}", key):
        raise ValueError(port)
    return Place(address, port, Secret(key))


def listen(place: Place) -> socket.socket | None:
    """A listening socket; None where the console of this place is up already. Raises UsageError."""
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((place.address, place.port))
        listener.listen(128)
    except OSError as error:
        listener.close()
        if error.errno == errno.EADDRINUSE:
            return None
        raise UsageError(
            f"The console cannot listen at {place.host}: {error.strerror}.",
            "It needs a loopback address of its own, as Linux has them in 127.0.0.0/8.",
        ) from error
    return listener
