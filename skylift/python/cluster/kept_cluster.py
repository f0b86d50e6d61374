"""The cluster that `skylift cluster up` keeps."""

from __future__ import annotations

from contextlib import nullcontext

from skylift.client.job.outcome import Outcome
from skylift.python.cluster.cluster import Cluster


class KeptCluster(Cluster):
    """Its options are called as on the command line. Its keeper tells how it has ended, and not the log."""

    _wording = staticmethod(nullcontext[None])

    def outcome(self) -> Outcome:
        """How the scheduler's job has ended; waits for its end."""
        return self._connected.outcome()

    def _tell_end(self) -> None:
        pass
