"""The keys of a map's record."""

from __future__ import annotations

from dataclasses import dataclass

from skylift.runner.job.record import Prefix
from skylift.runner.map.outcome import entry_key


@dataclass(frozen=True)
class MapKeys:
    """Whole keys in the bucket, for the client. What the server says is never a key: it says an index and a run. In the
    folder SCHEDULES, they are those of a schedule, which has spec and local inputs of all of its runs."""

    job: str
    folder: str = "jobs"

    @property
    def _base(self) -> str:
        return Prefix(self.job, self.folder).base

    @property
    def spec(self) -> str:
        return f"{self._base}/in/map.json"

    def blob(self, sha256: str) -> str:
        return f"{self._base}/in/map/blobs/{sha256}"

    @property
    def found(self) -> str:
        """The inputs that a schedule's run has looked up."""
        return f"{self._base}/server/map/found.json"

    @property
    def resumed(self) -> str:
        return Prefix(self.job).resumed

    @property
    def log(self) -> str:
        """The beginning of the keys of all entries; in their order when they are sorted."""
        return f"{self._base}/server/map/log/"

    def within(self, key: str) -> str:
        return f"{self._base}/{key}"

    def log_entry(self, number: int) -> str:
        return self.within(entry_key(number))

    @property
    def progress(self) -> str:
        return Prefix(self.job).progress

    def live(self, index: int) -> str:
        """What an input that runs has written so far."""
        return f"{self._base}/server/map/runs/{index:08}-live"

    def run(self, index: int, run: str) -> str:
        """The folder of one run, with a slash at its end."""
        return f"{self._base}/server/map/runs/{index:08}-{run}/"
