"""The facts that every stage of a job knows: where it runs, for which job, and until when."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any, Callable, Dict, Optional, TypeVar

from skylift.agent.job.guardian import Handles
from skylift.agent.job.ledger import Ledger
from skylift.agent.job.login_user import Login
from skylift.agent.machine.power import RESERVE
from skylift.agent.remote.aws import Aws, Metadata, retry_until
from skylift.agent.remote.prefix import Prefix

T = TypeVar("T")


class Context:
    """`deadline` is when the server goes off, in seconds since the epoch, and `last` until when most things are tried.
    `folder` is the job's folder on the server's disk. `source` has the job's record and inputs: it is the job's prefix,
    or the schedule's, which all of its runs read. `source_name` is its name."""

    def __init__(self, options: argparse.Namespace, aws: Aws, prefix: Prefix, ledger: Ledger, handles: Handles) -> None:
        self.aws, self.prefix, self.ledger, self.handles = aws, prefix, ledger, handles
        self.root = Path(options.root)
        self.deadline = float(options.deadline)
        self.last = self.deadline - RESERVE
        self.job = options.prefix.rstrip("/").rsplit("/", 1)[-1]
        self.folder = self.root / "var/lib/skylift" / self.job
        self.archive = self.root / "var/lib/skylift/supervisor.pyz"
        self.login = Login(options.user, self.root, self.job, options.region)
        self.poll, self.patience = float(options.poll), float(options.patience)
        self._bucket, self._imds = options.bucket, options.imds
        self.source_name = str(options.source)
        self.source = self.place(self.source_name)
        self.is_scheduled = options.source != options.prefix

    def retry(self, what: str, call: Callable[[], T], until: Optional[float] = None) -> T:
        return retry_until(what, call, self.last if until is None else until)

    def where(self) -> Dict[str, Any]:
        """This package and the job's prefix in S3, for another process."""
        place = {"bucket": self._bucket, "prefix": "jobs/" + self.job, "region": self.aws.region, "imds": self._imds}
        return {"archive": str(self.archive), **{name: str(value) for name, value in place.items()}}

    def place(self, name: str) -> Prefix:
        """Another prefix in the job's bucket."""
        return Prefix(self.aws, self._bucket, name)

    def metadata(self) -> Metadata:
        return Metadata(self._imds)
