"""A Debian 13 with Docker, ufw that denies what goes out, and hardened sysctls, all there before skylift."""

from __future__ import annotations

import pytest
from guest import PACKAGED, Guest

pytestmark = [pytest.mark.vm, pytest.mark.nightly]

HARDENED = """
kernel.unprivileged_userns_clone = 0
kernel.kptr_restrict = 2
kernel.dmesg_restrict = 1
kernel.yama.ptrace_scope = 2
kernel.unprivileged_bpf_disabled = 1
net.core.bpf_jit_harden = 2
fs.protected_fifos = 2
fs.protected_regular = 2
fs.suid_dumpable = 0
net.ipv4.conf.all.rp_filter = 1
net.ipv4.conf.default.rp_filter = 1
net.ipv4.conf.all.send_redirects = 0
"""
SYNCED = """
import os, time
with open("half.txt", "w") as file:
    file.write("so far")
    file.flush()
    os.fsync(file.fileno())
print("ready", flush=True)
time.sleep(3600)
"""


def test_docker_ufw_and_sysctls_are_there_first(guest: Guest) -> None:
    guest.write("hardened.conf", HARDENED.strip())
    guest.run("sudo cp programs/hardened.conf /etc/sysctl.d/99-hardened.conf && sudo sysctl -q --system")
    install = "apt-get -qq --yes --no-install-recommends install docker.io iptables ufw"
    guest.run(f"sudo apt-get -qq update && sudo env DEBIAN_FRONTEND=noninteractive {install}")
    for rule in ("default deny incoming", "default deny outgoing", "allow in 22/tcp", "allow out 53"):
        guest.run(f"sudo ufw {rule}")
    # Where packages come from.
    guest.run("sudo ufw allow out 80/tcp && sudo ufw allow out 443/tcp && sudo ufw --force enable")
    assert "deny (outgoing)" in guest.run("sudo ufw status verbose")
    assert "-P FORWARD DROP" in guest.run("sudo iptables -S FORWARD")
    assert guest.run("systemctl is-active docker").strip() == "active"
    guest.run("sudo iptables-save | grep '^-' > before")


def test_a_job_with_a_package_runs_beside_them(guest: Guest) -> None:
    guest.install()
    said = guest.run("skylift setup --yes")
    assert "Ready: the cloud is up" in said
    assert "no way to the internet" not in said
    guest.write("packaged.py", PACKAGED.strip())
    assert "\nsix 1." in guest.run("skylift run programs/packaged.py")


def test_a_cloud_that_runs_has_its_unit_until_it_ends(guest: Guest) -> None:
    guest.run("skylift setup --at-boot && skylift setup --no-at-boot")
    assert "-PWR" in guest.run("systemctl cat 'skylift-*.service'")
    assert guest.run("ls /etc/systemd/system /etc/systemd/system/*.wants").count("skylift") == 0


def test_a_detached_job_outlives_a_power_cut(guest: Guest) -> None:
    guest.write("synced.py", SYNCED)
    guest.run("skylift run --name cut --detach --out half.txt programs/synced.py")
    guest.run("until skylift logs cut | grep -q ready; do sleep 1; done", patience=60)
    guest.cut_off()
    guest.boot()
    guest.run("skylift cloud up && skylift attach cut", code=122)
    assert guest.run("cat half.txt") == "so far"


def test_down_leaves_the_others_as_they_were(guest: Guest) -> None:
    guest.run("skylift cloud down --erase --yes")
    assert guest.run("ip netns list").strip() == ""
    assert "skylift" not in guest.run("sudo nft list tables")
    assert guest.run("systemctl list-units --all --no-legend 'skylift*'").strip() == ""
    guest.run("sudo iptables-save | grep '^-' | diff before -")
