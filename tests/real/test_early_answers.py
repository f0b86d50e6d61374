"""A cloud that answers again, and has not looked at its servers yet: what it says and does, and how it may end then."""

from __future__ import annotations

import shutil
import signal
import socket
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from botocore.exceptions import ClientError
from support.real_cloud import RealCloud
from support.real_server import ending, until
from test_restart import ASK_WHO, TERMINATES, end_inside

from skylift.cloud.compute.server.server import find_programs

pytestmark = pytest.mark.real

SLOW_LIST = """#!/bin/sh
if [ "$3" = list ]; then while [ -e {hold} ]; do sleep 0.1; done; fi
exec {runtime} "$@"
"""


@contextmanager
def held(cloud: RealCloud) -> Iterator[Path]:
    """Clouds that are started inside get no answer of the runtime to the question which servers there are, until the
    file is removed."""
    # Root looks for programs in places of root's only.
    place = Path(tempfile.mkdtemp(dir=cloud.environment["SKYLIFT_DATA"]))
    usual, runtime = cloud.environment["PATH"], Path(find_programs().runtime)
    hold = place / "hold"
    try:
        hold.touch()
        place.chmod(0o755)
        (place / runtime.name).write_text(SLOW_LIST.format(hold=hold, runtime=runtime))
        (place / runtime.name).chmod(0o755)
        cloud.environment["PATH"] = f"{place}:{usual}"
        yield hold
    finally:
        hold.unlink(missing_ok=True)
        cloud.environment["PATH"] = usual
        if cloud.home.running_pid() is not None:
            # It has the runtime from here.
            cloud.kill()
            cloud.up()
        shutil.rmtree(place)


@contextmanager
def knocking(address: str) -> Iterator[list[str]]:
    """Somebody tries port 22 all the time; what he was let in for is in the list."""
    over, let_in = threading.Event(), []

    def knock() -> None:
        while not over.wait(0.02):
            try:
                with socket.create_connection((address, 22), timeout=0.2):
                    let_in.append(address)
            except OSError:
                continue

    thread = threading.Thread(target=knock)
    thread.start()
    try:
        yield let_in
    finally:
        over.set()
        thread.join()


def said_since(cloud: RealCloud, size: int) -> str:
    with cloud.home.data.log.open() as log:
        log.seek(size)
        return log.read()


def test_what_is_asked_for_before_servers_are_adopted_is_right_and_is_done_once(own_cloud: RealCloud) -> None:
    kept, stopped = own_cloud.launch(), own_cloud.launch(**TERMINATES)
    closed = own_cloud.start(SecurityGroupIds=[own_cloud.security_group("closed", own_cloud.vpc)])
    closed.await_state("running")
    before, inits = kept.describe(), (kept.init, stopped.init, closed.init)
    with held(own_cloud) as hold, knocking(closed.public_ip) as let_in:
        own_cloud.kill()
        size = own_cloud.home.data.log.stat().st_size
        own_cloud.up()
        assert kept.describe() == before
        until(lambda: kept.ssh(ASK_WHO, check=False).stdout == kept.id, "the metadata service")
        own_cloud.ec2.stop_instances(InstanceIds=[stopped.id], Force=True)
        new = own_cloud.start()
        assert (stopped.state, new.state) == ("stopping", "pending")
        assert "adopted:" not in said_since(own_cloud, size)
        assert (kept.init, stopped.init, closed.init) == inits
        hold.unlink()
        stopped.await_state("stopped")
        new.await_ssh()
        assert (kept.init, closed.init) == (inits[0], inits[2])
        assert kept.describe() == before
        assert let_in == []
        words = said_since(own_cloud, size)
        assert words.count(f"instance {new.id}: running") == 1
        # After its start the process takes code of root's only. What it still needs then, it has.
        assert "imported" not in words
    for server in (kept, stopped, closed, new):
        server.terminate()


def test_nobody_is_told_that_a_server_runs_which_has_ended(own_cloud: RealCloud) -> None:
    """A start of it would be no request at all, and be lost."""
    off, back = own_cloud.launch(), own_cloud.launch()
    with held(own_cloud) as hold:
        own_cloud.kill()
        end_inside(off, "sudo poweroff")
        end_inside(back, "sudo reboot")
        own_cloud.up()
        assert (off.state, back.state) == ("stopping", "running")
        assert off.describe()["StateReason"]["Code"] == "Client.InstanceInitiatedShutdown"
        with pytest.raises(ClientError, match="IncorrectInstanceState"):
            own_cloud.ec2.start_instances(InstanceIds=[off.id])
        hold.unlink()
        off.await_state("stopped")
        own_cloud.ec2.start_instances(InstanceIds=[off.id])
        for server in (off, back):
            server.await_ssh()
            server.terminate()


def test_a_cloud_that_is_killed_before_it_has_adopted_its_servers_leaves_them_to_the_next(own_cloud: RealCloud) -> None:
    kept, stopped = own_cloud.launch(), own_cloud.launch()
    inits = kept.init, stopped.init
    with held(own_cloud):
        own_cloud.kill()
        own_cloud.up()
        own_cloud.ec2.stop_instances(InstanceIds=[stopped.id])
        own_cloud.kill()
        assert (kept.init, stopped.init) == inits
    own_cloud.up()
    stopped.await_state("stopped")
    assert kept.init == inits[0]
    kept.ssh("sudo poweroff", check=False)
    kept.await_state("stopped")
    for server in (kept, stopped):
        server.terminate()


def test_a_cloud_is_taken_down_whole_before_it_has_adopted_its_servers(own_cloud: RealCloud) -> None:
    server = own_cloud.launch()
    with held(own_cloud) as hold:
        own_cloud.kill()
        own_cloud.up()
        with own_cloud.popen("cloud", "down", cwd=own_cloud.work) as down:
            hold.unlink()
            assert down.wait() == 0
        assert own_cloud.traces() == []
    own_cloud.up()
    server.await_state("stopped")
    server.terminate()


def test_a_cloud_that_waits_for_an_earlier_ones_programs_ends_when_it_is_asked_to(own_cloud: RealCloud) -> None:
    server = own_cloud.launch()
    init = server.init
    own_cloud.kill()
    size = own_cloud.home.data.log.stat().st_size
    place = f"/run/skylift/{own_cloud.number}/volumes/vol-1"
    with ExitStack() as end:
        # A shell by that name.
        leftover = subprocess.Popen(["mount", "-c", "read line", place], executable="/bin/sh", stdin=subprocess.PIPE)
        end.callback(leftover.wait)
        end.callback(leftover.kill)
        own_cloud.up()
        until(lambda: "waiting for programs of an earlier process: mount" in said_since(own_cloud, size), "its wait")
        with ending(own_cloud.endpoint.pid) as descriptor:
            signal.pidfd_send_signal(descriptor, signal.SIGTERM)
        assert "adoption ended before disks: networks" in said_since(own_cloud, size)
        assert server.init == init
    own_cloud.up()
    assert server.init == init
    server.ssh("sudo poweroff", check=False)
    server.await_state("stopped")
    server.terminate()


def test_a_job_waits_for_a_cloud_that_adopts_its_servers(own_cloud: RealCloud) -> None:
    other = own_cloud.launch()
    job = own_cloud.work / "job.py"
    job.write_text("print('done')\n")
    with held(own_cloud) as hold:
        own_cloud.kill()
        with own_cloud.popen("run", "job.py", cwd=own_cloud.work, stdout=subprocess.PIPE) as run:
            wanted = {"Filters": [{"Name": "instance-state-name", "Values": ["pending"]}]}
            until(
                lambda: own_cloud.home.running_pid() and own_cloud.ec2.describe_instances(**wanted)["Reservations"],
                "the job's server to be asked for",
            )
            hold.unlink()
            said, _ = run.communicate()
        assert (run.returncode, said) == (0, b"done\n")
    other.terminate()
