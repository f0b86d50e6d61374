"""A job that was started in one home directory is looked after from another one, with nothing but credentials."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from support.dressed import Somebody, documented_policies, somebody
from support.real_cloud import RealCloud
from support.real_server import until
from support.running_job import WAITS, roles

pytestmark = pytest.mark.real


@pytest.fixture(scope="module")
def homes(cloud: RealCloud) -> Iterator[tuple[Somebody, Somebody]]:
    """Two users of one account, each with what docs/iam.md gives, a home of their own, and no file in common."""
    with ExitStack() as end:
        first, second = (end.enter_context(somebody(cloud, name)) for name in ("starter", "finisher"))
        for each in (first, second):
            each.allow(*documented_policies(cloud.endpoint.account, cloud.endpoint.region))
        second.know_by_profile()
        (first.folder / "job.py").write_text(WAITS)
        yield first, second


def listed(who: Somebody, *options: str) -> dict[str, tuple[str, int | None]]:
    """State and exit code of each job."""
    found = json.loads(who.skylift("ps", "--json", *options).stdout)
    return {each["name"]: (each["state"], each["exit_code"]) for each in found}


def test_attached_to_finished_and_collected(cloud: RealCloud, homes: tuple[Somebody, Somebody]) -> None:
    first, second = homes
    for name in ("nightly", "unwanted"):
        done = first.skylift("run", "-d", "--name", name, "--out", "result.txt", "--max-time", "10m", "job.py")
        assert (done.returncode, done.stdout) == (0, f"{name}\n"), done.stderr
    # The laptop is lost, with the key that the servers were started with.
    shutil.rmtree(first.folder)

    with (second.folder / "words").open("w+") as words:
        follower = second.popen("logs", "-f", "nightly", words=words)
        watcher = second.popen("attach", "nightly", words=words)
        assert follower.stdout is not None and watcher.stdout is not None
        lines = follower.stdout.readline(), watcher.stdout.readline()
        assert lines == ("ready\n", "ready\n"), (second.folder / "words").read_text()
        until(lambda: listed(second).get("nightly") == ("running", None), "the record to say so", 120)
        entered = second.skylift("ssh", "nightly", "touch", "job/go")
        assert entered.returncode == 0, entered.stderr
        seen = follower.communicate()[0], watcher.communicate()[0]
    assert (*seen, follower.returncode, watcher.returncode) == ("done\n", "done\n", 0, 7)
    assert (second.folder / "result.txt").read_text() == "42"

    assert second.skylift("cancel", "unwanted").stdout == "unwanted: cancelled\n"
    waited = second.skylift("wait", "nightly", "unwanted")
    assert waited.returncode == 7, waited.stderr
    brought = second.skylift("results", "nightly", "again")
    assert brought.stdout == "result.txt\n", brought.stderr
    assert (second.folder / "again/result.txt").read_text() == "42"
    assert second.skylift("logs", "nightly").stdout == "ready\ndone\n"
    known = listed(second, "--all")
    assert (known["nightly"], known["unwanted"]) == (("failed", 7), ("cancelled", 143))

    until(lambda: not {"nightly", "unwanted"} & set(listed(second)), "the servers to be gone", 120)
    removed = second.skylift("rm", "nightly", "unwanted")
    assert removed.returncode == 0, removed.stderr
    assert not {"nightly", "unwanted"} & set(listed(second, "--all"))
    assert not {"skylift-nightly", "skylift-unwanted"} & roles(cloud)
