"""Collecting: the results of a job that has ended are downloaded."""

from __future__ import annotations

import threading
from dataclasses import dataclass

from skylift.client.collect.results import Manifest, bring_home, read_manifest
from skylift.client.job.record import JobKeys
from skylift.client.remote.reconnect import Reconnect
from skylift.client.steps import Clock
from skylift.client.text.size import spell_size
from skylift.client.watch.streaming import Streamed
from skylift.client.watcher import Watcher
from skylift.contract.states import State


@dataclass(frozen=True)
class Collected:
    """A job that has ended and whose results are here: `manifest` names them."""

    streamed: Streamed
    manifest: Manifest


class Collecting:
    """The download of one job's results. `run` may be called once; `interrupt` and `leave` are as in Streaming."""

    def __init__(self, streamed: Streamed, watcher: Watcher, clock: Clock) -> None:
        self._streamed, self._job, self._watcher, self._clock = streamed, streamed.job, watcher, clock
        account = streamed.job.account
        self._api, self._bucket, self._prefix = account.api, account.bucket, JobKeys(streamed.job.name)
        self._stop = threading.Event()
        self._reconnect = Reconnect(account.api, watcher, account.settings.revive)

    async def run(self) -> Collected:
        """Raises SkyliftError when not all results can be had."""
        if self._streamed.status.streams is None:
            return Collected(self._streamed, Manifest())
        where, job = (self._api, self._bucket, self._prefix), self._job
        manifest = await self._reconnect.until_answered(
            read_manifest, *where, job.outputs, job.script, spares_tracked=job.spares_tracked
        )
        has_step = self._streamed.status.started is not None and not self._job.is_map
        if has_step or manifest.results:
            # A program that was never started has no results, and no step for them. Those of a map are its inputs'.
            self._clock.begin("results")
        total = manifest.size
        manifest = await self._reconnect.until_answered(self._download, manifest)
        count = len(manifest.results)
        self._clock.end("results", f"{count} file{'s' * (count != 1)}, {spell_size(total)}" if count else "none")
        return Collected(self._streamed, manifest)

    def _download(self, manifest: Manifest) -> Manifest:
        done = 0

        def progress(more: int) -> None:
            nonlocal done
            done += more
            self._watcher.progress("results", done, manifest.size)

        where = (self._api, self._bucket, self._prefix)
        return bring_home(*where, manifest, self._job.home, progress, self._stop)

    def interrupt(self) -> State:
        self._stop.set()
        self._watcher.note(f"Stopped bringing results home: `skylift results {self._job.name}` brings the rest.")
        return State.CANCELLED

    def leave(self) -> State:
        return self.interrupt()
