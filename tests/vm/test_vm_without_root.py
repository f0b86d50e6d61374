"""A user without sudo on a Debian 13, under AppArmor that restricts user namespaces as Ubuntu's does.

The sysctl kernel.apparmor_restrict_unprivileged_userns is Ubuntu's own: neither Linux nor Debian's has it. Under it a
program that no profile has allowed `userns` may make a user namespace, and has no capability in it. A profile of
unshare does the same here.
"""

from __future__ import annotations

import pytest
from guest import PACKAGED, Guest

pytestmark = [pytest.mark.vm, pytest.mark.nightly]

RESTRICTED = """
abi <abi/4.0>,
profile unprivileged_unshare /usr/bin/unshare {
  audit deny capability,
  allow file rwlkm /**,
  allow file px /** -> &unprivileged_unshare,
  allow network,
  allow unix,
  allow ptrace,
  allow signal,
  allow mqueue,
  allow io_uring,
  allow userns,
  allow mount,
  allow umount,
  allow pivot_root,
  allow dbus,
}
"""
SKYLIFT = "/opt/skylift/bin/skylift"


def without_root(guest: Guest, command: str, code: int = 0, patience: int = 240) -> str:
    """As ann, who has no sudo."""
    guest.write("line.sh", command)
    return guest.run("sudo -iu ann bash -e < programs/line.sh", code=code, patience=patience)


def test_somebody_without_sudo(guest: Guest) -> None:
    guest.install()
    guest.run(
        "skylift setup --yes && skylift image export /tmp/image.tar.gz && chmod 644 /tmp/image.tar.gz*", patience=400
    )
    guest.run("skylift cloud down --erase --yes")
    guest.run("sudo useradd --create-home --shell /bin/bash ann")
    guest.run("sudo cp -r ~/.skylift /opt/skylift && sudo chmod -R a+rX /opt/skylift")
    guest.run('sudo sed -i "s,$HOME/.skylift,/opt/skylift," $(find /opt/skylift/bin -type f)')


def test_all_that_is_missing_is_named_for_an_administrator(guest: Guest) -> None:
    said = without_root(guest, f"{SKYLIFT} setup --rootless", code=2)
    assert "An administrator can: apt-get" in said
    assert said.rstrip().endswith("uidmap")
    install = "apt-get -qq --yes --no-install-recommends install uidmap"
    guest.run(f"sudo env DEBIAN_FRONTEND=noninteractive {install}")


def test_restricted_user_namespaces_are_refused_with_what_to_do(guest: Guest) -> None:
    guest.write("restricted", RESTRICTED)
    guest.run("sudo apparmor_parser --replace programs/restricted")
    said = without_root(guest, f"{SKYLIFT} setup --rootless", code=2)
    assert "Namespaces cannot be made" in said
    (advised,) = (line for line in said.splitlines() if line.startswith("  echo "))
    guest.write("advised.sh", advised)
    guest.run("sudo apparmor_parser --remove programs/restricted && sudo sh -e programs/advised.sh")
    assert "skylift-unshare" in guest.run("sudo cat /sys/kernel/security/apparmor/profiles")


def test_a_job_runs_without_root_under_the_profile_that_was_advised(guest: Guest) -> None:
    said = without_root(guest, f"{SKYLIFT} setup --rootless --image /tmp/image.tar.gz", patience=500)
    assert "Ready: the cloud is up" in said
    without_root(guest, f"cat > packaged.py <<'E'\n{PACKAGED}\nE")
    assert "\nsix 1." in without_root(guest, f"{SKYLIFT} run packaged.py", patience=400)
    assert "MISSING" not in without_root(guest, f"{SKYLIFT} doctor")


def test_nothing_is_left_of_it(guest: Guest) -> None:
    without_root(guest, f"{SKYLIFT} cloud down --erase --yes")
    assert guest.run("pgrep -u ann -a; true").strip() == ""
