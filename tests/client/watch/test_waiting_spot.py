"""A spot job whose next server has not come: who cancels it does not wait for that, and its secrets go with it."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path
from typing import Any

import pytest
from support.whole_run import Seen

from skylift.client.attach import Attach
from skylift.client.job.record import JobKeys
from skylift.client.job.server import Server
from skylift.client.job.settings import Settings
from skylift.client.launch.bucket import ensure_bucket
from skylift.client.launch.server import types_there
from skylift.client.launch.undo import write_off
from skylift.client.remote.account import Account, open_account
from skylift.client.remote.api import Api
from skylift.client.steps import Clock
from skylift.client.watch import streaming
from skylift.client.watch.forward import Forwards
from skylift.client.watch.streaming import Phase, Streaming
from skylift.client.watch.watched_job import WatchedJob
from skylift.client.watcher import NoKeyboard


@pytest.fixture
def account(api: Api, settings: Settings) -> Account:
    found = open_account(settings, api)
    ensure_bucket(api, found.bucket)
    return found


@pytest.mark.parametrize("servers", [0, 1])
def test_the_second_ctrl_c_ends_a_job_that_has_no_server(
    account: Account, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, servers: int
) -> None:
    """One that is there hears of it once SSH is back, and a third Ctrl-C may come before that."""
    there = [Server("i-1", "running", None, "", "waits", "t3.small", "")] * servers
    looked, cancelled = threading.Event(), threading.Event()

    def live(*_: Any) -> list[Server]:
        looked.set()
        return there

    def cancel(name: str) -> None:
        assert name == "waits"
        cancelled.set()

    monkeypatch.setattr(streaming, "live_servers", live)

    async def press_twice() -> None:
        seen = Seen()
        ours = WatchedJob(account, "waits", tmp_path, 0, "t3.small", None, launched_here=True, spot=True)
        watching = Streaming(ours, seen, Clock(seen), cancel, NoKeyboard(), Forwards(()), None)
        watching._phase = Phase.RUNNING
        assert watching.interrupt() is None
        assert not looked.is_set()
        assert watching.interrupt() is None

    asyncio.run(press_twice())
    assert looked.wait(60)
    if not servers:
        assert cancelled.wait(60)
    else:
        assert not cancelled.is_set()


def test_ctrl_c_after_leaving_does_not_end_the_job(account: Account, tmp_path: Path) -> None:
    """`~.` and then a Ctrl-C of the impatient: the job was left running, and stays so."""
    seen = Seen()

    async def leave_and_press() -> list[dict[str, object]]:
        job = WatchedJob(account, "left", tmp_path, 0, "t3.small", None, launched_here=True)
        watching = Attach(job, seen, Clock(seen))
        watching._streaming._phase = Phase.RUNNING
        watching._task = asyncio.ensure_future(asyncio.sleep(60))
        watching.leave()
        watching.interrupt()
        watching.interrupt()
        await asyncio.wait([watching._task])
        return watching._streaming._follower._waiting

    assert asyncio.run(leave_and_press()) == []
    assert seen.notes == []


def test_what_never_ran_leaves_no_secrets(account: Account) -> None:
    api, bucket, prefix = account.api, account.bucket, JobKeys("never")
    api.put(bucket, prefix.env, b'{"TOKEN": "x"}')
    write_off(account, "never", None, interrupted=False)
    assert api.get(bucket, prefix.env) is None
    status = account.status("never")
    assert status is not None and status.final


def test_types_that_the_region_has_not_are_left_out(api: Api) -> None:
    assert types_there(api, ("t3.small", "z9.huge", "m5.large")) == ("t3.small", "m5.large")
