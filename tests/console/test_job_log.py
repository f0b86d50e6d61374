"""The log of a job, read in a thread of its own while its page is open."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path

from skylift.client.job.settings import OneImage, Settings
from skylift.client.remote.account import Account
from skylift.console.job_log import JobLog


class EmptyBucket:
    def get(self, bucket: str, key: str, most: int) -> None:
        return None


def test_a_log_that_has_ended_may_be_left(tmp_path: Path) -> None:
    """Its page was not taken away, and the next one not shown, as stopping it failed."""
    settings = Settings("us-east-1", tmp_path / "keys", OneImage("ami-1"), lambda: "192.0.2.1")
    account = Account(EmptyBucket(), settings, "123456789012", "bucket")  # type: ignore[arg-type]

    async def read_and_leave() -> None:
        log = JobLog(account, "left-log")
        log.start()
        for thread in threading.enumerate():
            if thread.name == "log of left-log":
                await asyncio.to_thread(thread.join)
        log.stop()

    asyncio.run(read_and_leave())
