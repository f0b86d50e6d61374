"""The tool environment: Dask distributed on servers, by a lock that is part of skylift.

Every package is in `tools.txt` with the hashes of its files, so that an index can give nothing else. The environment
that comes of it is kept in the bucket by what decides it: the lock, the processor and the image. See
server/tool_environment.py for how a server gets it, and ship/prebuilt.py for who may write there.

`tools.txt` is made by `uv pip compile --universal --generate-hashes --python-version 3.10 --no-header --no-annotate`.
"""

from __future__ import annotations

import functools
import hashlib
import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from skylift.catalogue.uv import Wheel
from skylift.client.remote.api import Api
from skylift.client.ship.prebuilt import EnvironmentPlace, environment_statements, find_prebuilt
from skylift.client.ship.recipe import Recipe
from skylift.client.ship.uv import ensure_uv

_LAYOUT = 3


@functools.cache
def lock() -> bytes:
    return Path(__file__).with_name("tools.txt").read_bytes()


@dataclass(frozen=True)
class Tools:
    """The tool environment as one account's bucket has it, or is going to. `uv` is the wheel for images without uv.
    With `alone`, a server that finds none builds its own."""

    prebuilt: EnvironmentPlace
    uv: Wheel | None = None
    alone: bool = False

    @property
    def sha256(self) -> str:
        return hashlib.sha256(lock()).hexdigest()

    @property
    def key(self) -> str:
        return f"tools/{self.sha256}/requirements.txt"

    def encode(self) -> dict[str, Any]:
        """The form of a server's record (ToolEnvironment in server/tool_environment.py)."""
        record: dict[str, Any] = {
            "lock": {"key": self.key, "sha256": self.sha256},
            "environment": {**self.prebuilt.encode(), **({"alone": True} if self.alone else {})},
        }
        return {**record, "uv": {"key": self.uv.key, "sha256": self.uv.sha256}} if self.uv is not None else record

    def followed(self) -> Tools:
        """The same for a server that waits for the one that builds. Inputs run on a map's own server from the
        beginning, so that it may not build what later maps take."""
        return replace(self, prebuilt=replace(self.prebuilt, shared=False))

    def for_one_server(self) -> Tools:
        """The same for a map on one server, which builds them only where the image's Python is too old. So it could not
        pin them before its inputs run, which have its role: these would decide what later maps start."""
        return replace(self, prebuilt=replace(self.prebuilt, shared=False), alone=True)

    def building_statements(self, bucket: str) -> list[dict[str, Any]]:
        """For the role of a map's other servers. The first of them builds the environment and pins it before an input
        runs there; the others, and the map's own server, take it from the bucket."""
        reading = self.followed().statements(bucket)
        if self.prebuilt.sha256:
            return reading
        return [*reading, *environment_statements(self.prebuilt, bucket, "Tools")]

    def statements(self, bucket: str) -> list[dict[str, Any]]:
        """For the role of the server that this is for. Everything in `tools/` every role may read."""
        waits = not (self.alone or self.prebuilt.sha256 or self.prebuilt.shared)
        prebuilt = replace(self.prebuilt, sha256="-") if waits else self.prebuilt
        return environment_statements(prebuilt, bucket, "Tools")


def find_tools(api: Api, bucket: str, processor: str, image: str, now: float, uv: Wheel | None = None) -> Tools:
    """What there is for this image, or a new place."""
    contents = json.dumps([_LAYOUT, processor, hashlib.sha256(lock()).hexdigest()])
    recipe = Recipe(hashlib.sha256(contents.encode()).hexdigest()[:40], locked=True)
    return Tools(find_prebuilt(api, bucket, recipe, image, now, "tools"), uv)


def send_tools(api: Api, bucket: str, tools: Tools) -> None:
    """Put what servers build from into the bucket, unless it is there."""
    if not api.has(bucket, tools.key):
        api.put(bucket, tools.key, lock())
    if tools.uv is not None:
        ensure_uv(api, bucket, tools.uv)
