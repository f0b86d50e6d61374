"""What is sent with a job, and its upload to S3."""

from __future__ import annotations

import asyncio
import hashlib
import json
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from skylift.catalogue.uv import Wheel
from skylift.client.errors import NameTaken
from skylift.client.job.cache import Cache
from skylift.client.job.job import Job
from skylift.client.job.record import INDEX, SCHEDULES, JobKeys, encode_env, encode_record
from skylift.client.remote.account import Account
from skylift.client.ship.archive import whole_archive
from skylift.client.ship.blob_store import Blob, BlobStore, LargeFile
from skylift.client.ship.pack import Pack
from skylift.client.ship.prebuilt import EnvironmentPlace
from skylift.client.ship.stdin import Stdin
from skylift.client.ship.uv import ensure_uv
from skylift.client.steps import Clock, in_thread, together
from skylift.client.text.size import spell_size
from skylift.client.watcher import Watcher
from skylift.contract.record import ScheduleTerms

if TYPE_CHECKING:
    from skylift.client.ship.s3_input import S3Source


@dataclass(frozen=True)
class InputUpload:
    """The inputs of a job: packs of small files, the large files, and the objects that are in S3 already. `read` are
    objects that only its program reads, as a policy names them, and `read_buckets` those that have them."""

    packs: tuple[Pack, ...]
    large: tuple[LargeFile, ...]
    sources: tuple[S3Source, ...]
    read: tuple[str, ...] = ()
    read_buckets: tuple[str, ...] = ()

    @property
    def blobs(self) -> list[Blob]:
        return [*(each.blob for each in self.packs), *(each.blob for each in self.large)]

    def arns(self, bucket: str) -> list[str]:
        """The ARNs that the job's role must be allowed to read."""
        stored = {f"arn:aws:s3:::{bucket}/{each.key}" for each in self.blobs}
        return sorted(stored | {each.arn for each in self.sources} | set(self.read))

    def buckets(self, own: str) -> list[str]:
        """The buckets of the user's own."""
        return sorted(({each.bucket for each in self.sources} | set(self.read_buckets)) - {own})

    @property
    def size(self) -> int:
        return sum(each.size for each in self.blobs)


@dataclass(frozen=True)
class Shipment:
    """Everything that a job's server gets from S3: the inputs, uv if its image has none, and an environment that was
    built before. `tools` are those of a map, as its record has them. `deadline` is in seconds since the epoch. `image`
    is what its own server starts from; with `seal`, the server has no program, and an image is made of it. `terms` are
    of a schedule: the shipment is for all of its runs. `promised` is as in the record."""

    job: Job
    deadline: int
    upload: InputUpload
    uv: Wheel | None
    prebuilt: EnvironmentPlace | None
    tools: dict[str, Any] | None = None
    image: str = ""
    seal: bool = False
    terms: ScheduleTerms | None = None
    promised: float = 0.0

    @property
    def prefix(self) -> JobKeys:
        return JobKeys(self.job.name) if self.terms is None else JobKeys(self.job.name, SCHEDULES)

    def supervisor(self, cache: Cache) -> str:
        """The digest of the archive that servers get."""
        return hashlib.sha256(whole_archive(cache)).hexdigest()

    def record(self) -> bytes:
        return encode_record(
            self.job,
            created=time.time(),
            deadline=self.deadline,
            packs=[each.as_record() for each in self.upload.packs],
            large=[each.as_record() for each in self.upload.large],
            uv={"key": self.uv.key, "sha256": self.uv.sha256} if self.uv is not None else None,
            prebuilt=self.prebuilt.encode() if self.prebuilt is not None else None,
            tools=self.tools,
            image=self.image,
            seal=self.seal,
            promised=self.promised,
            schedule=self.terms,
        )


class Shipping:
    """Uploads shipments of one job. The first one claims the job's name."""

    def __init__(
        self, account: Account, watcher: Watcher, clock: Clock, stdin: Stdin | None = None, *, claimed: bool = False
    ) -> None:
        """`stdin` is one that is to be sent whole, once. With `claimed`, the name is the caller's already."""
        self._account, self._watcher, self._clock, self._stdin = account, watcher, clock, stdin
        self.name_is_ours = claimed

    async def send(self, shipment: Shipment, bucket_ready: asyncio.Future[None], *, kept: bool = False) -> None:
        """Upload everything once the bucket exists. A `kept` server has the supervisor already. Raises NameTaken."""
        await together(self._upload(shipment, bucket_ready, kept), self._tools(shipment, bucket_ready))

    async def _upload(self, shipment: Shipment, bucket_ready: asyncio.Future[None], kept: bool) -> None:
        """Upload the record first: its conditional write claims the job's name, so that no other job is touched. Inputs
        are looked for only after that, because `sweep` deletes an old one unless a record names it."""
        await asyncio.shield(bucket_ready)
        upload, count = shipment.upload, len(shipment.job.bundle.files)
        with self._clock.step("upload") as step:
            await in_thread(self._claim_name, shipment)
            _, _, sent = await together(
                in_thread(self._enter, shipment), in_thread(self._send_own, shipment, kept), self._send_inputs(upload)
            )
            step.detail = f"{count} file{'s' * (count != 1)}, {_spell_sent(upload.size, sent)}{_spell_s3(upload)}"
            if self._stdin is not None:
                step.detail += f"; {spell_size(await self._send_stdin(self._stdin, shipment))} of standard input"

    async def _send_stdin(self, stdin: Stdin, shipment: Shipment) -> int:
        account = self._account
        return await stdin.send_first(account.api, account.bucket, shipment.job.name, self._watcher.note)

    async def _tools(self, shipment: Shipment, bucket_ready: asyncio.Future[None]) -> None:
        if shipment.uv is not None:
            await asyncio.shield(bucket_ready)
            await in_thread(ensure_uv, self._account.api, self._account.bucket, shipment.uv)

    def _claim_name(self, shipment: Shipment) -> None:
        name = shipment.job.name
        key, record = shipment.prefix.record, shipment.record()
        if not self._account.api.put(self._account.bucket, key, record, first=not self.name_is_ours):
            raise NameTaken(name)
        self.name_is_ours = True

    def _enter(self, shipment: Shipment) -> None:
        """Enter the job in the index, by which `skylift ps` finds the newest ones."""
        if shipment.terms is None:
            self._account.api.put(self._account.bucket, f"{INDEX}{shipment.job.name}", b"")

    def _send_own(self, shipment: Shipment, kept: bool) -> None:
        """Upload what belongs to this job only."""
        api, bucket, prefix = self._account.api, self._account.bucket, shipment.prefix
        if not kept:
            api.put(bucket, prefix.supervisor, whole_archive(self._account.settings.cache))
        if shipment.job.env:
            api.put(bucket, prefix.env, encode_env(shipment.job))
        if shipment.prebuilt is not None and shipment.prebuilt.recipe is not None:
            api.put(bucket, prefix.recipe, shipment.prebuilt.recipe.encode())
        if shipment.upload.sources:
            sources = json.dumps([each.as_record() for each in shipment.upload.sources]).encode()
            api.put(bucket, prefix.s3_inputs, sources)
        if shipment.job.map is not None:
            api.put(bucket, prefix.map, shipment.job.map.spec)
            shipment.job.map.send_inputs(api, bucket, shipment.job.name)

    @property
    def may_send_again(self) -> bool:
        """False once standard input may have been sent, which cannot be read again."""
        return self._stdin is None or not self.name_is_ours

    async def take_back(self, name: str) -> None:
        """Remove what has been sent of a job that has no server. Of a name that another job turned out to have, there
        is a record of ours only when just the name's role was there, of an earlier job or of one in another region."""
        if self.name_is_ours:
            await in_thread(self._account.remove, name)

    async def _send_inputs(self, upload: InputUpload) -> int:
        """Upload inputs that are not in the bucket. Returns the number of bytes sent."""
        store = BlobStore(self._account.api, self._account.bucket)
        sending = asyncio.ensure_future(in_thread(self._send_missing, store, upload))
        try:
            return await asyncio.shield(sending)
        except asyncio.CancelledError:
            store.stop()
            await asyncio.gather(sending, return_exceptions=True)
            raise

    def _send_missing(self, store: BlobStore, upload: InputUpload) -> int:
        missing = store.missing(upload.blobs)
        size, count = sum(each.size for each in missing), sum(each.files for each in missing)
        come, files, counting = 0, 0, threading.Lock()

        def tell(more: int, more_files: int = 0) -> None:
            nonlocal come, files
            with counting:
                come, files = come + more, files + more_files
                self._watcher.progress("upload", come, size, (files, count))

        store.send_all(missing, tell, lambda blob: tell(0, blob.files))
        return size


def _spell_sent(size: int, sent: int) -> str:
    if spell_size(sent) == spell_size(size):
        return spell_size(size)
    return f"{spell_size(size)}, {spell_size(sent) if sent else 'nothing'} of it new"


def _spell_s3(upload: InputUpload) -> str:
    objects = [each for source in upload.sources for each in source.objects]
    if not objects:
        return ""
    return f"; {len(objects)} object{'s' * (len(objects) != 1)} of S3, {spell_size(sum(each.size for each in objects))}"
