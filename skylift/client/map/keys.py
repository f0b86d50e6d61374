"""The keys of a map's record."""

from __future__ import annotations

from dataclasses import dataclass

from skylift.client.job.record import JobKeys, RecordKey
from skylift.client.map.outcome import entry_key


@dataclass(frozen=True)
class MapKeys(JobKeys):
    """Whole keys in the bucket, for the client. What the server says is never a key: it says an index and a run. In the
    folder SCHEDULES, they are those of a schedule, which has spec and local inputs of all of its runs."""

    spec = RecordKey("in/map.json")
    found = RecordKey("server/map/found.json")
    """The inputs that a schedule's run has looked up."""
    log = RecordKey("server/map/log/")
    """The beginning of the keys of all entries; in their order when they are sorted."""

    def blob(self, sha256: str) -> str:
        return f"{self.base}/in/map/blobs/{sha256}"

    def within(self, key: str) -> str:
        return f"{self.base}/{key}"

    def log_entry(self, number: int) -> str:
        return self.within(entry_key(number))

    def live(self, index: int) -> str:
        """What an input that runs has written so far."""
        return f"{self.base}/server/map/runs/{index:08}-live"

    def run(self, index: int, run: str) -> str:
        """The folder of one run, with a slash at its end."""
        return f"{self.base}/server/map/runs/{index:08}-{run}/"
