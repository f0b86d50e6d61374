"""Publishing a server's host keys and login user, so that clients need not trust a key on first use."""

from __future__ import annotations

import contextlib
import json
import os
import pwd
from pathlib import Path

from skylift.agent.machine.console import say
from skylift.agent.remote.aws import Aws, Refused, Unreachable, retry_until
from skylift.agent.remote.prefix import Prefix

LOGIN_USERS = ("ec2-user", "ubuntu", "admin", "debian", "rocky", "almalinux", "fedora")
"""Default users of images on AWS, in the order in which they are tried."""


def find_user(name: str) -> pwd.struct_passwd:
    """The image's login user, whose name depends on the distribution. This process's user if there is none."""
    for each in (name, *LOGIN_USERS):
        with contextlib.suppress(KeyError):
            return pwd.getpwnam(each)
    return pwd.getpwuid(os.geteuid())


def announce(root: Path, user: str, aws: Aws, prefix: Prefix, until: float) -> None:
    """Publish the host keys as soon as sshd has them. Without sshd, everything of a job goes through S3."""

    def show() -> None:
        keys = [path.read_text().strip() for path in sorted((root / "etc/ssh").glob("ssh_host_*_key.pub"))]
        if not any(key.startswith("ssh-ed25519 ") for key in keys):
            raise Unreachable("sshd has no host key yet")
        shown = {"instance": aws.instance(), "keys": keys, "user": find_user(user).pw_name}
        prefix.put("server/hostkeys.json", json.dumps(shown).encode())

    try:
        retry_until("host keys", show, until)
    except (Unreachable, Refused) as error:
        say("the host keys could not be shown: %s" % error)
