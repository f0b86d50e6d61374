"""A job as the client leaves it for a server, without a client."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
import time
from pathlib import Path
from typing import Any

from skylift.client.collect.results import bring_home, read_manifest
from skylift.client.job.commands import boot_argv
from skylift.client.job.job import Job, Program
from skylift.client.job.record import JobKeys, bucket_name, encode_env, encode_record, parse_record
from skylift.client.job.settings import Settings
from skylift.client.launch.bucket import ensure_bucket
from skylift.client.plan.plan_job import Order, plan_job
from skylift.client.remote.api import Api
from skylift.client.ship.archive import whole_archive
from skylift.client.ship.pack import pack_bundle
from skylift.client.ship.recipe import recipe_of
from support.agent_bench import Door, Machine
from support.waiting_job import go

# A program that is over at once may have taken its server along before anybody has opened the door.
WAIT_FOR_GO = "import os, time\nwhile not os.path.exists('go'): time.sleep(0.02)\n"


class Shipped:
    """A job whose record, bundle and values are in S3, and the machine that is to run it."""

    def __init__(self, api: Api, settings: Settings, machine: Machine, folder: Path) -> None:
        self._api, self.machine, self.folder = api, machine, folder
        self._bucket = bucket_name(str(settings.account), settings.region)
        ensure_bucket(api, self._bucket)

    def ship(self, source: str, *args: str, **order: Any) -> Job:
        (self.folder / "job.py").write_text(source)
        return self.ship_order(Order(Program("script", "job.py", args), **order))

    def ship_order(self, order: Order, **record: Any) -> Job:
        job = plan_job(order, self.folder, os.environ)
        self.prefix = JobKeys(job.name)
        with tempfile.TemporaryFile() as archive:
            packs = pack_bundle(job.bundle, archive)
            for each in packs:
                with each.blob.open() as file:
                    self._api.put(self._bucket, each.blob.key, file.read())
        told = [each.as_record() for each in packs]
        text = encode_record(job, created=time.time(), deadline=int(time.time()) + 900, packs=told)
        content = {**json.loads(text), **record}
        assert self._api.put(self._bucket, self.prefix.record, json.dumps(content).encode(), first=True)
        self._api.put(self._bucket, self.prefix.supervisor, whole_archive())
        self.bundle = packs[0].blob.key
        recipe = recipe_of(job, "x86_64")
        if recipe is not None:
            self._api.put(self._bucket, self.prefix.recipe, recipe.encode())
        if job.env:
            self._api.put(self._bucket, self.prefix.env, encode_env(job))
        return job

    def boot(self, seconds: int = 900, *options: str, **how: Any) -> None:
        digest = hashlib.sha256(whole_archive()).hexdigest()
        argv = boot_argv(self._bucket, self.prefix.base, "us-east-1", int(time.time()) + seconds, "nobody", digest)
        self.machine.boot([*argv[2:], *options], **how)

    def run(self, source: str, *args: str, **order: Any) -> dict[str, Any]:
        self.ship(source, *args, **order)
        self.boot()
        self.machine.wait()
        return self.status()

    def go(self) -> None:
        """What a program with WAIT_FOR_GO waits for."""
        go(self.machine)

    def status(self) -> dict[str, Any]:
        found = self._api.get(self._bucket, self.prefix.status)
        status: dict[str, Any] = json.loads(found) if found else {}
        return status

    def stream(self, name: str) -> bytes:
        pieces = self._api.pages(
            "s3", "list_objects_v2", "Contents", Bucket=self._bucket, Prefix=self.prefix.stream(name)
        )
        whole = b""
        for piece in sorted(pieces, key=lambda each: str(each["Key"])):
            assert int(piece["Key"].rsplit("/", 1)[1]) == len(whole), "a piece is named by the offset of its first byte"
            whole += self.read(piece["Key"]) or b""
        return whole

    def pieces(self, name: str) -> dict[int, bytes]:
        """By the offset of their first byte."""
        found = self._api.pages(
            "s3", "list_objects_v2", "Contents", Bucket=self._bucket, Prefix=self.prefix.stream(name)
        )
        return {int(each["Key"].rsplit("/", 1)[1]): self.read(each["Key"]) or b"" for each in found}

    def read(self, key: str) -> bytes | None:
        return self._api.get(self._bucket, key)

    def put(self, key: str, body: bytes) -> None:
        self._api.put(self._bucket, key, body)

    def bring_home(self, home: Path) -> list[str]:
        manifest = bring_home(self._api, self._bucket, self.prefix, self.manifest(), home, lambda _: None)
        return sorted(each.path for each in manifest.results)

    def manifest(self) -> Any:
        record = parse_record(self.prefix.record, self.read(self.prefix.record) or b"")
        return read_manifest(self._api, self._bucket, self.prefix, record.outputs, record.script)

    def door(self) -> Door:
        return Door(self.machine.root / "run/skylift" / f"{self.prefix.job}.sock")
