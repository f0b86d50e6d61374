"""A job's prefix in memory, for what is decided by the order of its calls, and by those whose answer is lost."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from skylift.agent.remote.aws import Refused, Unreachable


class Killed(BaseException):
    """The supervisor is no more; nothing of it runs any further."""


def nothing(step: str, verb: str, key: str) -> None:
    pass


class KeptPrefix:
    """As S3 is for a server's role: what is not there is denied, as nobody may list.

    `fault` is called before each call ("asked") and, once the change is made, before its answer ("done"); what it
    raises is what the caller hears.
    """

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}
        self.calls: list[tuple[str, str]] = []
        self.written: list[str] = []
        self.fault: Callable[[str, str, str], None] = nothing
        self.during: Callable[[], object] = lambda: None

    def get(self, key: str) -> bytes | None:
        self._begin("get", key)
        if key not in self.objects:
            raise Unreachable("GET: HTTP 403 AccessDenied")
        self.fault("done", "get", key)
        return self.objects[key]

    def fetch(self, key: str, path: Path) -> None:
        path.write_bytes(self.get(key) or b"")

    def put(self, key: str, body: bytes, first: bool = False, times: str = "") -> bool:
        self._begin("put", key)
        if first and key in self.objects:
            return False
        self.objects[key] = body
        self.written.append(key)
        self.fault("done", "put", key)
        return True

    def request(
        self, method: str, key: str, query: str = "", body: bytes = b"", headers: dict[str, str] | None = None
    ) -> tuple[int, dict[str, str], bytes]:
        """GET, and a PUT with its condition."""
        if method == "GET":
            found = self.get(key) or b""
            return 200, {"etag": _etag(found)}, found
        self._begin("put", key)
        told = headers or {}
        if "if-none-match" in told and key in self.objects:
            return 412, {}, b""
        if "if-match" in told and told["if-match"] != _etag(self.objects[key]):
            return 412, {}, b""
        self.objects[key] = body
        self.written.append(key)
        self.fault("done", "put", key)
        return 200, {"etag": _etag(body)}, b""

    def put_file(
        self, key: str, file: BinaryIO, size: int, until: float, sent: Callable[[int], None] = lambda size: None
    ) -> str:
        self._begin("put_file", key)
        body = file.read(3)
        self.during()
        body += file.read()
        self.objects[key] = body
        self.written.append(key)
        self.fault("done", "put_file", key)
        return hashlib.sha256(body).hexdigest()

    def delete(self, key: str) -> None:
        self._begin("delete", key)
        self.objects.pop(key, None)
        self.fault("done", "delete", key)

    def _begin(self, verb: str, key: str) -> None:
        self.fault("asked", verb, key)
        self.calls.append((verb, key))


def _etag(body: bytes) -> str:
    return f'"{hashlib.md5(body, usedforsecurity=False).hexdigest()}"'


__all__ = ["KeptPrefix", "Killed", "Refused", "Unreachable", "nothing"]
