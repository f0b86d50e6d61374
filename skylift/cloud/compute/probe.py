"""Tries what servers need of the kernel, in namespaces that end with the attempt. It changes nothing on this machine.

Each returns "" if it worked, and else what the kernel or the program said. They need root.
"""

from __future__ import annotations

import subprocess
import tempfile
from pathlib import Path

from skylift.cloud.state.program import find_program, own_environment

# The one way to know is to do it: kernels, file systems and container hosts refuse each of these in their own ways.
_OVERLAY = """
set -e
cd "$1"
mkdir image lower upper work root
: >image/file
chown 4200000000:4200000000 upper work
mount --bind -o X-mount.idmap=b:0:4200000000:65536 image lower
mount -t overlay -o lowerdir=lower,upperdir=upper,workdir=work overlay root
test "$(stat -c %u root/file)" = 4200000000
echo changed >root/file
"""

_RULES = """
table inet trial {
    set group {
        type ipv4_addr
        flags interval
        elements = { 10.0.0.0/8 }
    }
    set ports {
        type ipv4_addr . inet_proto . inet_service
        flags interval
        elements = { 10.0.0.0/8 . tcp . 22 }
    }
    set recent {
        type ipv4_addr . inet_service
        size 8
        flags dynamic,timeout
        timeout 1s
    }
    set begun {
        type ifname . mark
        size 8
        flags dynamic
    }
    chain forward {
        type filter hook forward priority filter
        policy drop
        ct state established,related accept
        ct state new add @begun { iifname . symhash mod 2 ct count over 8 } drop
        ip saddr @group tcp dport 22 accept
        ip daddr . meta l4proto . th dport @ports accept
        meta l4proto tcp add @recent { ip saddr . th sport } accept
        reject with icmpx type admin-prohibited
    }
}
table ip trial_nat {
    chain output {
        type nat hook output priority -100
        ip daddr 127.0.0.2 dnat to 10.0.0.1
    }
    chain postrouting {
        type nat hook postrouting priority srcnat
        masquerade
    }
}
"""


def overlay(directory: Path) -> str:
    """An overlay whose lower directory is an idmapped mount, on the file system that `directory` is on."""
    with tempfile.TemporaryDirectory(prefix=".skylift-trial-", dir=directory) as place:
        command = ["unshare", "--mount", "--propagation", "private", "sh", "-c", _OVERLAY, "sh", place]
        return _run(command)


def firewall() -> str:
    """nftables with connection tracking, address translation and sets."""
    return _run(["unshare", "--net", find_program("nft") or "nft", "-f", "-"], _RULES)


def links() -> str:
    """A network namespace with a virtual cable in it."""
    ip = find_program("ip") or "ip"
    return _run(["unshare", "--net", ip, "link", "add", "name", "trial0", "type", "veth", "peer", "name", "trial1"])


def user_namespace() -> str:
    """A process that is root in a new user namespace."""
    return _run(["unshare", "--user", "--map-root-user", "--mount", "--pid", "--net", "--fork", "true"])


def _run(command: list[str], text: str = "") -> str:
    try:
        done = subprocess.run(command, input=text, capture_output=True, text=True, check=False, env=own_environment())
    except FileNotFoundError as error:
        return f"{error.filename} is not installed"
    if done.returncode == 0:
        return ""
    output = (done.stderr or done.stdout).strip().splitlines()
    return output[0] if output else f"{command[0]} ended with exit code {done.returncode}"
