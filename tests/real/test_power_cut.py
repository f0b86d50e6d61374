"""The power goes off in the middle of things: what was answered before is there afterwards, with servers' disks."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from mapped import Mapped
from power_soak import ROOM, PowerSoak
from support.loop_disk import LoopDisk, cloud_on, disk
from support.real_cloud import RealCloud
from support.real_server import ending, until
from support.running_job import WAITS, RunningJob, ended_job, jobs

from skylift.cloud.state.home import Home
from skylift.contract.map_spec import MapInput, MapSpec

pytestmark = pytest.mark.real

SYNCED = """
with open("half.txt", "w") as file:
    file.write("so far")
    file.flush()
    os.fsync(file.fileno())
"""

HEARS = """
import signal, sys, time

def hear(number, frame):
    with open("heard.txt", "w") as file:
        file.write("SIGTERM")
    sys.exit(0)

signal.signal(signal.SIGTERM, hear)
print("ready", flush=True)
time.sleep(3600)
"""

SAVES = """
import os, signal, sys, time

def save(number, frame):
    with open("seen.part", "w") as file:
        file.write("SIGTERM")
    os.replace("seen.part", "seen.txt")
    sys.exit(75)

signal.signal(signal.SIGTERM, save)
if os.path.exists("seen.txt"):
    open("went-on.txt", "w").write("from " + open("seen.txt").read())
    sys.exit(0)
print("ready", flush=True)
time.sleep(3600)
"""

FAILS = """
import sys, time
time.sleep(3)
sys.exit(7)
"""


@contextmanager
def cut_off(cloud: RealCloud, held: LoopDisk) -> Iterator[None]:
    """The machine is off inside, and on again with the cloud at the end."""
    with ending(cloud.endpoint.pid) as process:
        signal.pidfd_send_signal(process, signal.SIGSTOP)
        held.cut()
        signal.pidfd_send_signal(process, signal.SIGKILL)
    held.power_on(cloud.home)
    yield
    cloud.up()


def test_power_cuts_under_load_lose_nothing_that_was_answered(image_home: Home) -> None:
    with disk(ROOM) as held, cloud_on(held, image_home) as cloud:
        score = PowerSoak(cloud, "suite", held).run(kills=3)
    assert score.kills >= 3
    assert score.acknowledged > 0


def test_servers_shut_down_with_the_machine_and_start_again(own_cloud: RealCloud) -> None:
    """Its orderly stop, as systemd's or an administrator's: programs hear of it, and no server ended by itself."""
    passing = own_cloud.launch(InstanceInitiatedShutdownBehavior="terminate")
    job = RunningJob(own_cloud, own_cloud.work, "--out", "*.txt", source=HEARS)
    # It would bring the cloud back.
    job.client.kill()
    job.client.wait()
    own_cloud.switch_off()
    assert own_cloud.servers_processes() == set()
    own_cloud.up()
    passing.await_way_in(f"{passing.id} to be back")
    attached = own_cloud.skylift("attach", job.name, check=False)
    assert attached.returncode == 122, attached.stderr
    assert ended_job(own_cloud, job.name) == ("rebooted", 122)
    assert (own_cloud.work / "heard.txt").read_text() == "SIGTERM"
    until(lambda: job.name not in [each["name"] for each in jobs(own_cloud)], "the job's server to be gone")
    passing.terminate()


def test_a_spot_job_goes_on_from_its_checkpoint_after_the_machines_orderly_stop(own_cloud: RealCloud) -> None:
    job = RunningJob(own_cloud, own_cloud.work, "--spot", "--checkpoint", "seen.txt", "--out", "*.txt", source=SAVES)
    (first,) = [each["instance"] for each in jobs(own_cloud) if each["name"] == job.name]
    job.client.kill()
    job.client.wait()
    own_cloud.switch_off()
    own_cloud.up()
    attached = own_cloud.skylift("attach", job.name, check=False)
    assert attached.returncode == 0, attached.stderr
    assert "goes on from attempt 1's checkpoint" in attached.stderr
    assert (own_cloud.work / "went-on.txt").read_text() == "from SIGTERM"
    (ended,) = [each for each in jobs(own_cloud, "--all") if each["name"] == job.name]
    assert (ended["state"], ended["attempt"], ended["instance"] != first) == ("succeeded", 2, True)


def test_servers_start_again_with_what_they_have_synced_after_a_power_cut(image_home: Home) -> None:
    with disk(ROOM) as held, cloud_on(held, image_home) as cloud:
        key = cloud.home.root_key()
        kept = cloud.launch()
        kept.with_volume()
        kept.says("echo synced >file && sync file && sudo cp file /mnt/sdf/file && sudo sync /mnt/sdf/file")
        allocated = cloud.ec2.allocate_address(Domain="vpc")
        cloud.ec2.associate_address(AllocationId=allocated["AllocationId"], InstanceId=kept.id)
        # A host's reboot is no shutdown from inside.
        passing = cloud.start(InstanceInitiatedShutdownBehavior="terminate")
        passing.await_state("running")
        before = {each.id: (each.public_ip, each.private_ip) for each in (kept, passing)}
        off = cloud.launch()
        cloud.ec2.stop_instances(InstanceIds=[off.id])
        off.await_state("stopped")
        # Nothing on this one has had the time to reach the disk by itself; whoever launched it can get in all the same.
        young = cloud.start()
        young.await_state("running")
        with cut_off(cloud, held):
            assert cloud.home.root_key() == key
        # With the host key that it had, at the elastic address.
        kept.await_way_in(f"{kept.id} to be back")
        assert kept.says("cat file /mnt/sdf/file") == "synced\nsynced"
        assert kept.public_ip == allocated["PublicIp"]
        for server in (passing, young):
            server.await_ssh()
        assert young.says("cat /var/lib/cloud/seed/instance-id") == young.id
        assert {each.id: (each.public_ip, each.private_ip) for each in (kept, passing)} == before
        assert off.state == "stopped"


def test_a_job_under_which_the_power_goes_off_ends_with_its_results(image_home: Home) -> None:
    source = WAITS.replace('print("ready"', f'{SYNCED}print("ready"', 1)
    with disk(ROOM) as held, cloud_on(held, image_home) as cloud:
        job = RunningJob(cloud, cloud.work, "--out", "*.txt", source=source)
        with cut_off(cloud, held):
            job.client.kill()
            job.client.wait()
        attached = cloud.skylift("attach", job.name, check=False)
        assert attached.returncode == 122, attached.stderr
        assert ended_job(cloud, job.name) == ("rebooted", 122)
        assert (cloud.work / "half.txt").read_text() == "so far"
        until(lambda: jobs(cloud) == [], "the server to be gone")


def test_a_map_goes_on_with_its_program_after_the_power_went_off(image_home: Home) -> None:
    """Soon after its start, so that nothing has reached the disk by itself. An empty program would succeed."""
    inputs = tuple(MapInput(number, str(number), f"input-{number}") for number in range(4))
    spec = MapSpec(("python", "job.py"), True, ("{}",), inputs, batch=1, per_server=1, servers=1)
    with disk(ROOM) as held, cloud_on(held, image_home) as cloud:
        (cloud.work / "job.py").write_text(FAILS)
        mapped = Mapped(cloud, cloud.work, "cut", spec, {})
        mapped.until(lambda: mapped.log().outcomes, "its first outcome")
        with cut_off(cloud, held):
            pass
        seen = cloud.skylift("attach", "cut", check=False)
        assert seen.returncode == 1, seen.stderr
        assert {index: each.exit_code for index, each in mapped.log().outcomes.items()} == dict.fromkeys(range(4), 7)
