"""A run connects to the server of this user's last job before it knows whether it will have it. EC2 is moto's."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from kept_yard import Yard
from support.whole_run import Seen, order

from skylift.cli.run import run_job, submit_job
from skylift.cli.terminal import Display
from skylift.client.errors import LaunchFailed
from skylift.client.job.cache import Cache
from skylift.client.job.job import Job
from skylift.client.job.record import JobKeys
from skylift.client.job.settings import Settings
from skylift.client.launch.last_kept import LastKept, remember_kept
from skylift.client.remote import ssh
from skylift.client.remote.account import open_account
from skylift.client.watch.forward import Forwards
from skylift.python.work import start_run, start_submission

pytestmark = pytest.mark.usefixtures("prepared")

HOST_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAvmQYuYD71X7/XlPU3aEWsBp0En6Ta+MF6J0ChgMILQ"

Way = Callable[[Job, Settings, Any], object]
WAYS: dict[str, Way] = {
    "run": lambda job, settings, seen: run_job(job, settings, Display(seen, None, None)),
    "run -d": submit_job,
    "Python's run": lambda job, settings, seen: start_run(job, settings, seen, Forwards(()), None).result(),
    "Python's submit": lambda job, settings, seen: start_submission(job, settings, seen, None).result(),
}


@pytest.fixture
def begun(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The job that a server had last, for each connection that was begun. None of them comes to be."""
    found: list[str] = []

    class Start(ssh.SshStart):
        def __init__(self, *to: Any, last: str = "") -> None:
            found.append(last)
            super().__init__(*to, last=last)

    monkeypatch.setattr(ssh, "SshStart", Start)
    programs = tmp_path / "programs"
    programs.mkdir()
    (programs / "ssh").write_text("#!/bin/sh\nexec sleep 60\n")
    (programs / "ssh").chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}{os.pathsep}{os.environ['PATH']}")
    return found


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("last", ["last", "before"])
def test_the_connection_that_began_early_is_the_runs(
    settings: Settings, seen: Seen, folder: Path, monkeypatch: pytest.MonkeyPatch, begun: list[str], way: str, last: str
) -> None:
    """It is the only one, unless EC2 has another server than the one that was remembered."""
    settings = replace(settings, cache=Cache(folder.parent / "cache"))
    yard = Yard(open_account(settings))
    instance = yard.keep("last")
    keys = {"user": "nobody", "keys": [HOST_KEY], "instance": instance}
    yard.api.put(yard.account.bucket, JobKeys("last").host_keys, json.dumps(keys).encode())
    (kept,) = yard.waiting()
    address, host_keys = kept.server.address, kept.host_keys
    assert address is not None
    assert host_keys is not None
    remember_kept(settings, LastKept(yard.account.number, last, kept.server.type, address, host_keys, kept.until))

    def no_room(*_: Any) -> None:
        raise LaunchFailed("No room.")

    monkeypatch.setattr("skylift.client.launch.start.run_instance", no_room)
    with pytest.raises(LaunchFailed, match="No room"):
        WAYS[way](order(folder, "", keep=600), settings, seen)
    assert begun == (["last"] if last == "last" else ["before", "last"])
