"""The cloud's process ends, killed or asked to: what its servers do meanwhile, and what is left of it all."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import boto3
import pytest
from botocore.exceptions import ClientError
from support.kernel_traces import traces
from support.kernel_world import own_home
from support.real_cloud import RealCloud, real_cloud, tail
from support.real_fleet import fleet_of
from support.real_server import Server, ending, until

from skylift.cloud.compute.network.network import loopback_ranges
from skylift.cloud.state.home import Home

pytestmark = pytest.mark.real

TOKEN = "$(curl -sf -X PUT -H 'X-aws-ec2-metadata-token-ttl-seconds: 60' http://169.254.169.254/latest/api/token)"
ASK_WHO = f'curl -sf -H "X-aws-ec2-metadata-token: {TOKEN}" http://169.254.169.254/latest/meta-data/instance-id'
TERMINATES = {"InstanceInitiatedShutdownBehavior": "terminate"}


def end_inside(server: Server, command: str) -> None:
    """Have it end itself, and wait until the host sees that it has."""
    with ending(server.init):
        server.ssh(command, check=False)


def instances(cloud: RealCloud) -> set[str]:
    found = cloud.ec2.describe_instances()["Reservations"]
    return {one["InstanceId"] for each in found for one in each["Instances"]}


def test_a_server_goes_on_without_its_cloud_and_is_adopted(own_cloud: RealCloud) -> None:
    server = own_cloud.launch(**TERMINATES)
    before, init, was = server.describe(), server.init, own_cloud.endpoint
    server.ssh("touch /run/user-was-here || sudo touch /run/user-was-here")
    own_cloud.kill()
    assert server.says("hostname -I").split()[0] == before["PrivateIpAddress"]
    assert server.ssh(ASK_WHO, check=False).returncode != 0
    own_cloud.up()
    assert own_cloud.endpoint.pid != was.pid
    assert (own_cloud.endpoint.url, own_cloud.endpoint.account) == (was.url, was.account)
    assert server.describe() == before
    assert server.init == init
    assert server.says("test -e /run/user-was-here && echo the same") == "the same"
    # All that the cloud's process does for a server works again: metadata, names, the API, and knowing of its end.
    assert server.says(ASK_WHO) == server.id
    assert server.says(f"getent hosts ip-{before['PrivateIpAddress'].replace('.', '-')}.ec2.internal")
    assert server.ssh("curl -s -o /dev/null $AWS_ENDPOINT_URL").returncode == 0
    server.ssh("sudo poweroff", check=False)
    server.await_state("terminated")


def test_servers_that_ended_meanwhile_are_settled(own_cloud: RealCloud) -> None:
    gone, stopped, back = own_cloud.launch(**TERMINATES), own_cloud.launch(), own_cloud.launch()
    back.ssh("sudo touch /run/before")
    own_cloud.kill()
    end_inside(gone, "sudo poweroff")
    end_inside(stopped, "sudo poweroff")
    end_inside(back, "sudo reboot")
    own_cloud.up()
    gone.await_state("terminated")
    stopped.await_state("stopped")
    for server in (gone, stopped):
        assert server.describe()["StateReason"]["Code"] == "Client.InstanceInitiatedShutdown"
    assert not gone.place.exists()
    assert stopped.place.exists()
    back.await_state("running")
    back.await_ssh()
    assert back.ssh("test -e /run/before", check=False).returncode == 1
    for server in (stopped, back):
        server.terminate()


def test_a_notice_is_carried_out_though_the_cloud_is_killed(own_cloud: RealCloud) -> None:
    """With the word of it not yet acted on; and then the request, which is persistent, brings another server."""
    ec2 = own_cloud.ec2
    (asked,) = ec2.request_spot_instances(
        Type="persistent", LaunchSpecification={"ImageId": own_cloud.image, "InstanceType": "t3.micro"}
    )["SpotInstanceRequests"]
    wanted = {"Filters": [{"Name": "spot-instance-request-id", "Values": [asked["SpotInstanceRequestId"]]}]}

    def states() -> list[str]:
        found = own_cloud.ec2.describe_instances(**wanted)["Reservations"]
        return sorted(one["State"]["Name"] for each in found for one in each["Instances"])

    until(lambda: states() == ["running"], "the first server")
    (first,) = ec2.describe_instances(**wanted)["Reservations"][0]["Instances"]
    own_cloud.skylift("cloud", "interrupt", first["InstanceId"], "--in", "1s")
    own_cloud.kill()
    own_cloud.up()
    until(lambda: states() == ["running", "terminated"], "the next server")
    own_cloud.ec2.cancel_spot_instance_requests(SpotInstanceRequestIds=[asked["SpotInstanceRequestId"]])
    (second,) = {
        one["InstanceId"]
        for each in own_cloud.ec2.describe_instances(**wanted)["Reservations"]
        for one in each["Instances"]
    } - {first["InstanceId"]}
    own_cloud.ec2.terminate_instances(InstanceIds=[second])
    until(lambda: states() == ["terminated", "terminated"], "the end")


def test_a_fleet_is_at_its_size_again_after_a_kill(own_cloud: RealCloud) -> None:
    """One of it dies while nobody looks, and the cloud is cut off again as it launches the next."""
    with fleet_of(own_cloud, 2) as fleet:
        first, second = fleet.running()
        own_cloud.kill()
        with ending(first.init) as descriptor:
            signal.pidfd_send_signal(descriptor, signal.SIGKILL)
        own_cloud.up()
        until(lambda: len(fleet.states) == 3, "the next server's launch")
        own_cloud.kill()
        own_cloud.up()
        assert second.id in {server.id for server in fleet.running()}
        assert len(fleet.states) == 3


def test_what_was_asked_for_before_a_kill_is_done_after_it(own_cloud: RealCloud) -> None:
    """An answer is a promise: a launch and a termination, each cut off right after it."""
    server = own_cloud.start()
    own_cloud.kill()
    own_cloud.up()
    server.await_ssh()
    own_cloud.ec2.terminate_instances(InstanceIds=[server.id])
    own_cloud.kill()
    own_cloud.up()
    server.await_state("terminated")
    assert [line for line in own_cloud.traces() if server.id in line] == []
    assert not server.place.exists()


def test_after_down_nothing_is_left_and_up_brings_back_what_was_kept(own_cloud: RealCloud) -> None:
    own_cloud.skylift("cloud", "env", "--profile", "of-a-test")
    config, credentials = (
        Path(own_cloud.environment[name]) for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE")
    )
    assert "of-a-test" in config.read_text() and "of-a-test" in credentials.read_text()
    kept, gone = own_cloud.launch(), own_cloud.launch(**TERMINATES)
    kept.ssh("echo kept >~/file && sync")
    # What is looked for is there to be found.
    kinds = {line.split()[0] for line in own_cloud.traces()}
    assert kinds == {"process", "mount", "network", "cgroup", "loop", "nft:", "ip:", "file"}
    own_cloud.down()
    assert own_cloud.traces() == []
    assert not config.exists() and not credentials.exists()
    own_cloud.up()
    kept.await_state("stopped")
    gone.await_state("terminated")
    assert kept.kept("home/ec2-user/file") == "kept\n"
    assert not gone.place.exists()
    kept.terminate()


def test_a_cloud_whose_addresses_another_one_has_by_now_takes_others(own_cloud: RealCloud, tmp_path: Path) -> None:
    server = own_cloud.launch()
    elastic = own_cloud.ec2.allocate_address(Domain="vpc")
    own_cloud.ec2.associate_address(AllocationId=elastic["AllocationId"], InstanceId=server.id)
    before = own_cloud.number
    own_cloud.down()
    with own_home(tmp_path) as intruder:
        loopback_ranges().take(intruder, preferred=before)
        own_cloud.up()
    assert own_cloud.number != before
    own_cloud.ec2.start_instances(InstanceIds=[server.id])
    server.await_way_in(f"{server.id} to be back")
    # The same address in the other network, let in by the rule that named the host's old one.
    assert server.address == elastic["PublicIp"].replace(f"127.{before}.", f"127.{own_cloud.number}.")
    server.terminate()
    own_cloud.ec2.release_address(AllocationId=elastic["AllocationId"])


def test_two_clouds_never_see_each_other(own_cloud: RealCloud, image_home: Home) -> None:
    with real_cloud(image_home) as second:
        assert own_cloud.number != second.number
        here, there = own_cloud.launch(), second.launch()
        assert here.id in instances(own_cloud) and there.id in instances(second)
        assert not instances(own_cloud) & instances(second)
        assert own_cloud.endpoint.account != second.endpoint.account
        key = own_cloud.home.root_key()
        assert key is not None
        with pytest.raises(ClientError) as refusal:
            second.client("ec2", (key.access_key_id, key.secret_access_key)).describe_instances()
        assert refusal.value.response["Error"]["Code"] == "AuthFailure"
        assert not set(own_cloud.traces()) & set(second.traces())
        # Public addresses of one are nowhere in the other, with the port open to all the world.
        everyone = own_cloud.security_group("everyone", own_cloud.vpc, (22, "0.0.0.0/0"))
        own_cloud.ec2.modify_instance_attribute(InstanceId=here.id, Groups=[everyone])
        knock = f"timeout 2 bash -c 'exec 3<>/dev/tcp/{here.address}/22 && head -c 4 <&3'"
        until(lambda: here.ssh(knock, check=False).stdout == "SSH-", "the open port")
        assert there.ssh(knock, check=False).stdout == ""
        second.down()
        assert second.traces() == []
        assert here.says("echo still here") == "still here"
        assert here.state == "running"
        here.terminate()


def test_a_cloud_that_was_killed_is_taken_down_whole(image_home: Home) -> None:
    with real_cloud(image_home) as cloud:
        server = cloud.launch()
        volume = server.with_volume()
        cloud.kill()
        # As the making of a snapshot leaves it when it is cut off.
        subprocess.run(["fsfreeze", "--freeze", f"/run/skylift/{cloud.number}/volumes/{volume}"], check=True)
        assert any(server.id in line for line in cloud.traces())
        cloud.down()
        assert cloud.traces() == []
        cloud.down()


def test_a_killed_test_leaves_nothing(image_home: Home) -> None:
    code = f"""
import sys
sys.path[:0] = {sys.path!r}
from support.real_cloud import Home, Path, real_cloud
with real_cloud(Home(Path({str(image_home.path)!r}))) as cloud:
    cloud.launch()
    print(cloud.number, cloud.home.path, flush=True)
    sys.stdin.read()
"""
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as test:
        assert test.stdout is not None
        said = test.stdout.readline()
        assert said, f"the test ended by itself with {test.wait()}"
        number, home = said.split()
        assert traces(int(number), Path(home))
        test.kill()

    def facts() -> str:
        return f"{traces(int(number), Path(home))}\n{tail(Path(home).parent / 'guard.log', 40)}"

    until(lambda: traces(int(number), Path(home)) == [], "the cloud of the killed test to be gone", facts=facts)
    until(lambda: not Path(home).parent.exists(), "its directory to be gone", facts=facts)
    assert not Home(Path(home)).data.path.exists()


def test_a_profile_works_for_those_who_name_it(own_cloud: RealCloud, monkeypatch: pytest.MonkeyPatch) -> None:
    own_cloud.skylift("cloud", "env", "--profile", "of-a-test")
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(name, own_cloud.environment[name])
    session = boto3.Session(profile_name="of-a-test")
    assert session.client("sts").get_caller_identity()["Account"] == own_cloud.endpoint.account
