"""Environments in the bucket that earlier jobs have built: their keys, and who may write them. See recipe.py for
which one a job needs.

The server that builds an environment pins its content before the program starts, in an object that the server's role
may write but not replace. The files are uploaded while the program runs. A later server checks them against the pin. So
a program that takes over its server and its role can put nothing into another job's environment.
"""

from __future__ import annotations

import json
import re
import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from skylift.runner.errors import Refused
from skylift.runner.remote.api import Api

if TYPE_CHECKING:
    from skylift.runner.ship.recipe import Recipe

ENVIRONMENTS = "envs"
STALE = 7 * 86400
"""Seconds after which an environment without a lock is resolved again."""

_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class PrebuiltEnvironment:
    """A place for one environment. `sha256` is the digest of its index, and empty when it has yet to be built.

    One that is built on a server where another job's program has run is not `shared`: it stays on that server.
    """

    place: str
    sha256: str = ""
    shared: bool = True

    def encode(self) -> dict[str, Any]:
        return {"place": self.place, "sha256": self.sha256, "shared": self.shared}


def find_prebuilt(api: Api, bucket: str, recipe: Recipe, image: str, now: float) -> PrebuiltEnvironment:
    """The newest complete environment, or a new place."""
    base = f"{ENVIRONMENTS}/{recipe.digest}/{image}/"
    try:
        found = api.pages("s3", "list_objects_v2", "Contents", Bucket=bucket, Prefix=base)
    except Refused as error:
        if error.code != "NoSuchBucket":
            raise
        found = []
    indexes = {each["Key"].rsplit("/", 1)[0]: each for each in found if each["Key"].endswith("/index.json")}
    for place, index in sorted(indexes.items(), key=lambda item: item[1]["LastModified"], reverse=True):
        if not recipe.locked and now - index["LastModified"].timestamp() > STALE:
            break
        if "/" in place.removeprefix(base):
            # The server that builds an environment may write anything below its place, at any time.
            continue
        sha256 = _read_pin(api.get(bucket, f"{place}/pin.json"))
        if sha256:
            return PrebuiltEnvironment(place, sha256)
    return PrebuiltEnvironment(base + secrets.token_hex(6))


def stored_environment(api: Api, bucket: str, place: str) -> tuple[PrebuiltEnvironment, int] | None:
    """The environment at a place, and the bytes that its files take; None until it is whole."""
    objects = api.pages("s3", "list_objects_v2", "Contents", Bucket=bucket, Prefix=f"{place}/")
    sizes = {str(each["Key"]).removeprefix(f"{place}/"): int(each["Size"]) for each in objects}
    sha256 = _read_pin(api.get(bucket, f"{place}/pin.json")) if "index.json" in sizes else ""
    size = sum(size for name, size in sizes.items() if name.startswith("pack-"))
    return (PrebuiltEnvironment(place, sha256), size) if sha256 else None


def _read_pin(content: bytes | None) -> str:
    """The digest of the index; empty when the server has written something else."""
    try:
        pin = json.loads(content or b"{}")
    except (ValueError, RecursionError):
        return ""
    found = pin.get("sha256") if isinstance(pin, dict) else None
    return found if isinstance(found, str) and _SHA256.fullmatch(found) else ""


def environment_statements(
    prebuilt: PrebuiltEnvironment | None, bucket: str, name: str = "Environment"
) -> list[dict[str, Any]]:
    """The statements for a job's role: read the environment that it downloads, or write the one that it builds, once.
    `name` is the end of their ids, for a role that has two environments."""
    if prebuilt is None or not (prebuilt.sha256 or prebuilt.shared):
        return []
    objects = f"arn:aws:s3:::{bucket}/{prebuilt.place}"
    if prebuilt.sha256:
        return [
            {"Sid": f"Take{name}", "Effect": "Allow", "Action": "s3:GetObject", "Resource": f"{objects}/*"},
        ]
    return [
        {
            "Sid": f"WriteDown{name}",
            "Effect": "Allow",
            "Action": "s3:PutObject",
            "Resource": f"{objects}/pin.json",
            "Condition": {"Null": {"s3:if-none-match": "false"}},
        },
        {
            "Sid": f"Keep{name}",
            "Effect": "Allow",
            "Action": ["s3:PutObject", "s3:AbortMultipartUpload"],
            "Resource": [f"{objects}/index.json", f"{objects}/pack-*"],
        },
    ]
