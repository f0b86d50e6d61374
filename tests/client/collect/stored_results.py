"""A job's results in S3, and how a client asks for them."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from skylift.client.collect.results import Manifest, bring_home, read_manifest
from skylift.client.job.record import JobKeys
from skylift.client.remote.api import Api

BUCKET = "skylift-123456789012-us-east-1"
PREFIX = JobKeys("x")


def put(api: Api, path: str, body: bytes, digest: str | None = None) -> None:
    api.put(BUCKET, PREFIX.result(path), body)
    found = {"path": path, "size": len(body), "sha256": digest or hashlib.sha256(body).hexdigest()}
    manifest = {"results": [found], "unmatched": [], "left_behind": []}
    api.put(BUCKET, PREFIX.manifest, json.dumps(manifest).encode())


def fetch(api: Api, home: Path, *outputs: str, script: str = "") -> int:
    come: list[int] = []
    bring_home(api, BUCKET, PREFIX, told(api, *outputs, script=script), home, come.append)
    return sum(come)


def told(api: Api, *outputs: str, script: str = "") -> Manifest:
    return read_manifest(api, BUCKET, PREFIX, outputs or ("a*",), script)


def part(folder: Path, path: str, digest: str) -> Path:
    """What a client that was killed leaves of a result."""
    return folder / f".{hashlib.sha256(path.encode()).hexdigest()[:16]}.{digest[:16]}.skylift-part"


def send(api: Api, **files: bytes) -> None:
    """A manifest as any program of the job can write it, and what it names."""
    entries = []
    for path, body in files.items():
        api.put(BUCKET, PREFIX.result(path), body)
        entries.append({"path": path, "size": len(body), "sha256": hashlib.sha256(body).hexdigest()})
    manifest = {"results": entries, "unmatched": [], "left_behind": []}
    api.put(BUCKET, PREFIX.manifest, json.dumps(manifest).encode())
