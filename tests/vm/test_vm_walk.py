"""The README on a stock Debian 13, from its first line to `down --erase`: a user with sudo, umask 077, a private home.

The tests are steps of one walk: each begins where the last one has ended. What is known to fail is run, and marked; the
mark fails with the mend.
"""

from __future__ import annotations

import pytest
from guest import PACKAGED, Guest

pytestmark = [pytest.mark.vm, pytest.mark.nightly]

ALL_MEMORY = "x = []\nwhile True: x.append(bytearray(b'x' * (16 << 20)))\n"
HEARS = """
import signal, sys, time

def hear(number, frame):
    with open("heard.txt", "w") as file:
        file.write("SIGTERM")
    sys.exit(0)

signal.signal(signal.SIGTERM, hear)
time.sleep(3600)
"""
PID = "systemctl show --property=MainPID --value 'skylift-*.service'"
ALL_PROCESSES = """
import os, time
made = 0
try:
    while made < 200000:
        if os.fork() == 0:
            time.sleep(600)
        made += 1
except OSError as error:
    print("no more:", error.strerror)
"""


def test_it_is_a_stock_debian(guest: Guest) -> None:
    assert guest.run("systemctl is-system-running --wait").strip() == "running"
    assert "VERSION_CODENAME=trixie" in guest.run("cat /etc/os-release")
    assert {"cpu", "memory", "pids"} <= set(guest.run("cat /sys/fs/cgroup/cgroup.controllers").split())
    assert guest.run("umask; stat -c %a .").split() == ["0077", "700"]


def test_readme_first_lines(guest: Guest) -> None:
    guest.install()
    said = guest.run("skylift setup --yes")
    assert "Ready: the cloud is up" in said
    assert "no way to the internet" not in said


def test_apparmor_enforces_the_profile_of_pasta(guest: Guest) -> None:
    assert "pasta (enforce)" in guest.run("sudo cat /sys/kernel/security/apparmor/profiles")
    assert "DENIED" not in guest.run("sudo dmesg")


def test_readme_first_run(guest: Guest) -> None:
    said = guest.run(
        "cp -r skylift/examples/csv first-run && cd first-run && "
        "skylift run --in sample.csv --out summary.json fileprocessor.py sample.csv && cat summary.json"
    )
    assert "1,461 rows summarised into summary.json" in said


def test_a_failing_run_has_the_exit_code_of_its_program(guest: Guest) -> None:
    guest.run("skylift run -- sh -c 'exit 3'", code=3)


def test_a_job_with_a_package_runs(guest: Guest) -> None:
    """It is fetched by the server, through pasta."""
    guest.write("packaged.py", PACKAGED.strip())
    assert "\nsix 1." in guest.run("skylift run programs/packaged.py")


def test_a_program_that_takes_all_memory_is_stopped(guest: Guest) -> None:
    guest.write("greedy.py", ALL_MEMORY)
    # 128 and SIGSEGV, with which User-Mode Linux ends it; Linux itself has SIGKILL.
    guest.run("skylift run --type t3.micro programs/greedy.py", code=139)
    assert guest.run("systemctl is-system-running --wait").strip() == "running"


def test_a_program_that_makes_processes_is_bounded(guest: Guest) -> None:
    guest.write("forks.py", ALL_PROCESSES)
    assert "no more: " in guest.run("skylift run programs/forks.py")


def test_doctor_finds_nothing_missing(guest: Guest) -> None:
    for command in ("skylift doctor", "sudo .skylift/bin/skylift doctor"):
        said = guest.run(command)
        assert "MISSING" not in said
        assert "way to the internet" in said


def test_doctor_names_what_denies_the_way_out(guest: Guest) -> None:
    """A profile that is stricter than any that is known."""
    places = "/etc/apparmor.d/abstractions/pasta"
    guest.run(f"sudo cp {places} kept && sudo sed -i 's,@{{run}}/user.*,@{{run}}/none r\\,,' {places}")
    guest.run("sudo apparmor_parser -r -T /etc/apparmor.d/usr.bin.pasta")
    try:
        said = guest.run("sudo .skylift/bin/skylift doctor", code=1)
    finally:
        guest.run(f"sudo cp kept {places} && sudo apparmor_parser -r -T /etc/apparmor.d/usr.bin.pasta")
    assert "AppArmor's profile of pasta denies it /run/user/0/netns/user" in " ".join(said.split())


def test_doctor_without_user_namespaces_gives_one_advice(guest: Guest) -> None:
    before = guest.run("cat /proc/sys/user/max_user_namespaces").strip()
    guest.run("sudo sysctl -q user.max_user_namespaces=0")
    try:
        said = guest.run("sudo .skylift/bin/skylift doctor", code=1)
    finally:
        guest.run(f"sudo sysctl -q user.max_user_namespaces={before}")
    assert "sysctl user.max_user_namespaces=15000" in said
    assert "ext4, xfs or btrfs" not in said


def test_a_kept_server_is_entered_by_ssh(guest: Guest) -> None:
    guest.run("skylift run --name kept --keep 10m -- true")
    assert "Debian" in guest.run("skylift ssh kept -- cat /etc/os-release")


def test_the_cloud_outlives_the_session_that_started_it(guest: Guest) -> None:
    pid = guest.run(PID).strip()
    assert "/system.slice/skylift-" in guest.run(f"cat /proc/{pid}/cgroup")
    guest.run("sudo loginctl terminate-user dev", code=255)
    assert guest.run(PID).strip() == pid
    assert "Started" in guest.run("sudo journalctl --unit 'skylift-*' --boot")


def test_a_job_goes_on_while_its_unit_is_stopped(guest: Guest) -> None:
    guest.run("skylift run --name going --detach -- sh -c 'sleep 60; exit 3'")
    guest.run("sudo systemctl stop 'skylift-*.service'")
    assert guest.run("skylift cloud status", code=1).startswith("down")
    guest.run("skylift cloud up && skylift wait going", code=3)


def test_a_detached_job_outlives_a_reboot(guest: Guest) -> None:
    """It has SIGTERM, and its results come home."""
    guest.write("hears.py", HEARS)
    guest.run("skylift run --name long --detach --out heard.txt programs/hears.py")
    guest.power_off()
    guest.boot()
    assert guest.run("skylift cloud status", code=1).startswith("down")
    guest.run("skylift cloud up && skylift attach long", code=122)
    assert guest.run("cat heard.txt") == "SIGTERM"


def test_the_cloud_starts_at_boot_where_that_is_wanted(guest: Guest) -> None:
    guest.run("skylift setup --at-boot")
    guest.run("skylift run --name kept-on --keep 30m -- true")
    guest.power_off()
    guest.boot()
    assert guest.run("systemctl is-system-running --wait").strip() == "running"
    assert guest.run("skylift cloud status").startswith("up")
    assert "Debian" in guest.run("skylift ssh kept-on -- cat /etc/os-release")


def test_down_leaves_nothing(guest: Guest) -> None:
    guest.run("skylift cloud up && skylift cloud down --erase --yes")
    assert guest.run("ip netns list").strip() == ""
    assert "skylift" not in guest.run("sudo nft list tables")
    assert "skylift" not in guest.run("findmnt --noheadings --output TARGET")
    assert guest.run("find /sys/fs/cgroup -name 'skylift*'").strip() == ""
    assert guest.run("pgrep -x pasta || true").strip() == ""
    assert guest.run("systemctl list-unit-files --no-legend 'skylift*'; ls /etc/systemd/system").count("skylift") == 0
