"""Environments in the bucket that earlier jobs have built: their keys, and who may write them. See recipe.py for
which one a job needs.

A server that builds one writes a pin before code of others may run on it: the digest of what it has made of wheels
alone, or that there is no such environment (server/environment.py). Everybody takes one that was pinned so. A second
pin, written before the program starts, has what else was built: it is taken only by jobs of the same source. The
server's role may write each pin, but not replace it. The files are uploaded while the program runs. A later server
checks them against the pin. So a program that takes over its server and its role can put nothing into another job's
environment.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import secrets
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from skylift.client.errors import Refused
from skylift.client.job.policy import allow
from skylift.client.remote.api import Api

if TYPE_CHECKING:
    from skylift.client.job.job import Job
    from skylift.client.ship.recipe import Recipe

ENVIRONMENTS = "envs"
STALE = 7 * 86400
"""Seconds after which an environment without a lock is resolved again."""

PROVEN, OWN = "proven.json", "pin.json"
"""The pins: of what anybody may take, and of what only jobs of the same source take."""

_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class EnvironmentPlace:
    """A place for one environment: ENVIRONMENTS/RECIPE/IMAGE/BUILDER-NUMBER. `sha256` is the digest of its index, and
    empty when it has yet to be built. One that is `proven` is anybody's. `recipe` has what it is built from.

    One that is built on a server where another job's program has run is not `shared`: it stays on that server.
    """

    place: str
    sha256: str = ""
    shared: bool = True
    proven: bool = False
    recipe: Recipe | None = field(default=None, compare=False)

    def encode(self) -> dict[str, Any]:
        return {"place": self.place, "sha256": self.sha256, "shared": self.shared, "proven": self.proven}

    @property
    def name(self) -> str:
        """What all environments have that are taken for this one."""
        return self.place.rpartition("/" if self.proven else "-")[0]


def builder_of(folder: Path, job: Job) -> str:
    """Who builds an environment: this user, for this source, wherever it is run from. Nothing in a project decides it.
    `folder` keeps a number that only this user has."""
    mark, place, bundle = folder / "builder", job.environment.path, job.bundle
    with suppress(FileExistsError):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with os.fdopen(os.open(mark, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(secrets.token_hex(16))
    source = next((each.path for each in bundle.files if each.place == place), bundle.root / place)
    who = json.dumps([mark.read_text(), os.path.realpath(source)])
    return hashlib.sha256(who.encode(errors="surrogateescape")).hexdigest()[:16]


def find_prebuilt(api: Api, bucket: str, recipe: Recipe, image: str, now: float, builder: str) -> EnvironmentPlace:
    """The newest complete environment, or a new place."""
    base = f"{ENVIRONMENTS}/{recipe.digest}/{image}/"
    try:
        found = api.pages("s3", "list_objects_v2", "Contents", Bucket=bucket, Prefix=base)
    except Refused as error:
        if error.code != "NoSuchBucket":
            raise
        found = []
    indexes = {each["Key"].rsplit("/", 1)[0]: each for each in found if each["Key"].endswith("/index.json")}
    mine: EnvironmentPlace | None = None
    for place, index in sorted(indexes.items(), key=lambda item: item[1]["LastModified"], reverse=True):
        if not recipe.locked and now - index["LastModified"].timestamp() > STALE:
            break
        if "/" in place.removeprefix(base):
            # The server that builds an environment may write anything below its place, at any time.
            continue
        pinned = _pinned(api, bucket, place, own=mine is None and place.startswith(f"{base}{builder}-"))
        if pinned is not None and pinned.proven:
            return replace(pinned, recipe=recipe)
        mine = mine or pinned
    return replace(mine or EnvironmentPlace(f"{base}{builder}-{secrets.token_hex(6)}"), recipe=recipe)


def stored_environment(api: Api, bucket: str, place: str) -> tuple[EnvironmentPlace, int] | None:
    """The environment at a place, and the bytes that its files take; None until it is whole."""
    objects = api.pages("s3", "list_objects_v2", "Contents", Bucket=bucket, Prefix=f"{place}/")
    sizes = {str(each["Key"]).removeprefix(f"{place}/"): int(each["Size"]) for each in objects}
    found = _pinned(api, bucket, place, own=True) if "index.json" in sizes else None
    size = sum(size for name, size in sizes.items() if name.startswith("pack-"))
    return None if found is None else (found, size)


def _pinned(api: Api, bucket: str, place: str, *, own: bool) -> EnvironmentPlace | None:
    """What is pinned at a place. The second pin counts only where the first one says that nothing is proven."""
    proven = api.get(bucket, f"{place}/{PROVEN}")
    if sha256 := _read_pin(proven):
        return EnvironmentPlace(place, sha256, proven=True)
    sha256 = _read_pin(api.get(bucket, f"{place}/{OWN}")) if own and proven is not None else ""
    return EnvironmentPlace(place, sha256) if sha256 else None


def _read_pin(content: bytes | None) -> str:
    """The digest of the index; empty when the server has written something else."""
    try:
        pin = json.loads(content or b"{}")
    except (ValueError, RecursionError):
        return ""
    found = pin.get("sha256") if isinstance(pin, dict) else None
    return found if isinstance(found, str) and _SHA256.fullmatch(found) else ""


def environment_statements(
    prebuilt: EnvironmentPlace | None, bucket: str, name: str = "Environment"
) -> list[dict[str, Any]]:
    """The statements for a job's role: read the environment that it downloads, or write the one that it builds, once.
    `name` is the end of their ids, for a role that has two environments."""
    if prebuilt is None or not (prebuilt.sha256 or prebuilt.shared):
        return []
    objects = f"arn:aws:s3:::{bucket}/{prebuilt.place}"
    if prebuilt.sha256:
        return [allow(f"Take{name}", "s3:GetObject", f"{objects}/*")]
    return [
        allow(
            f"WriteDown{name}",
            "s3:PutObject",
            [f"{objects}/{PROVEN}", f"{objects}/{OWN}"],
            {"Null": {"s3:if-none-match": "false"}},
        ),
        allow(
            f"Keep{name}", ["s3:PutObject", "s3:AbortMultipartUpload"], [f"{objects}/index.json", f"{objects}/pack-*"]
        ),
    ]
