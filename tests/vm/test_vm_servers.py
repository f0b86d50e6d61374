"""Several servers on a Debian 13 with systemd: a map, a spot server that goes, a group; and a start that fails."""

from __future__ import annotations

import json

import pytest
from guest import Guest

pytestmark = [pytest.mark.vm, pytest.mark.nightly]

SQUARE = "import sys\nprint(int(sys.argv[1]) ** 2)\n"
COUNTS = """
import pathlib, time
place = pathlib.Path("state/count")
place.parent.mkdir(exist_ok=True)
count = int(place.read_text()) if place.exists() else 0
print("from", count, flush=True)
while count < 60:
    time.sleep(1)
    count += 1
    new = place.with_suffix(".new")
    new.write_text(str(count))
    new.rename(place)
print("to", count)
"""
AWS = 'eval "$(skylift cloud env)"; aws'
GROUP = f"""{AWS} ec2 describe-vpcs > /dev/null
image=$(aws ec2 describe-images --query 'Images[0].ImageId' --output text)
subnet=$(aws ec2 describe-subnets --query 'Subnets[0].SubnetId' --output text)
aws ec2 create-launch-template --launch-template-name web \\
    --launch-template-data "{{\\"ImageId\\": \\"$image\\", \\"InstanceType\\": \\"t3.micro\\"}}" > /dev/null
aws autoscaling create-auto-scaling-group --auto-scaling-group-name web --launch-template LaunchTemplateName=web \\
    --min-size 0 --max-size 3 --desired-capacity 2 --vpc-zone-identifier "$subnet"
"""
MEMBERS = (
    f"{AWS} autoscaling describe-auto-scaling-groups --auto-scaling-group-names web --output json "
    "--query \"AutoScalingGroups[0].Instances[?LifecycleState=='InService'].InstanceId\""
)


def until(guest: Guest, condition: str, patience: int = 120) -> None:
    guest.run(f"until {condition}; do sleep 1; done", patience=patience)


def test_a_start_that_fails_says_why_and_leaves_no_unit(guest: Guest) -> None:
    guest.install()
    guest.run("skylift setup --yes && skylift cloud down")
    before = guest.run("cat /proc/sys/user/max_net_namespaces").strip()
    guest.run("sudo sysctl -q user.max_net_namespaces=0")
    try:
        said = guest.run("skylift cloud up", code=125)
    finally:
        guest.run(f"sudo sysctl -q user.max_net_namespaces={before}")
    assert "Traceback" not in said
    assert "user namespace: unshare: unshare failed" in said
    assert "active" not in guest.run("systemctl list-units --all --no-legend 'skylift*' | grep -v failed || true")
    assert "up at" in guest.run("skylift cloud up")


def test_a_map_runs_on_two_servers(guest: Guest) -> None:
    guest.write("square.py", SQUARE)
    said = guest.run("skylift map --servers 2 --name squares --range 1..12 programs/square.py", patience=400)
    assert "12 succeeded" in said
    servers = guest.run("skylift ps --all --json")
    assert "squares" in servers


def test_a_spot_job_goes_on_after_the_notice(guest: Guest) -> None:
    guest.write("counts.py", COUNTS)
    guest.run("skylift run --spot --checkpoint state --name counts --detach programs/counts.py", patience=400)
    until(guest, "skylift logs counts | grep -q 'from 0'")
    (job,) = [each for each in json.loads(guest.run("skylift ps --json")) if each["name"] == "counts"]
    guest.run(f"skylift cloud interrupt {job['instance']} --in 15s")
    guest.run("skylift attach counts", patience=400)
    said = guest.run("skylift logs counts")
    assert said.count("from ") == 2
    assert "from 0" in said
    assert "to 60" in said


def test_a_group_replaces_a_server(guest: Guest) -> None:
    guest.run(GROUP)
    until(guest, f"[ $({MEMBERS} | grep -c i-) = 2 ]")
    first, *_ = json.loads(guest.run(MEMBERS))
    guest.run(f"{AWS} ec2 terminate-instances --instance-ids {first}")
    until(guest, f"[ $({MEMBERS} | grep i- | grep -cv {first}) = 2 ]")
    guest.run(f"{AWS} autoscaling delete-auto-scaling-group --auto-scaling-group-name web --force-delete")


def test_down_leaves_nothing_of_them(guest: Guest) -> None:
    guest.run("skylift cloud down --erase --yes")
    assert guest.run("ip netns list").strip() == ""
    assert "skylift" not in guest.run("findmnt --noheadings --output TARGET")
    assert guest.run("find /sys/fs/cgroup -name 'skylift*'").strip() == ""
    assert guest.run("systemctl list-units --all --no-legend 'skylift*'").strip() == ""
