"""The user that the program runs as, and the program's environment variables."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Dict

from skylift.agent.machine.etc_environment import read_environment
from skylift.agent.remote.announce import find_user


class Login:
    """The login user, or this process's user if there is none."""

    def __init__(self, name: str, root: Path, job: str, region: str) -> None:
        self.user = find_user(name)
        self._root, self._job, self._region = root, job, region
        self.home = root / self.user.pw_dir.lstrip("/")
        self.place = self.home / "job"

    @property
    def uid(self) -> int:
        return self.user.pw_uid

    @property
    def gid(self) -> int:
        return self.user.pw_gid

    def identity(self) -> Dict[str, Any]:
        """Arguments for Popen: user and groups. Empty when this process runs as that user already."""
        if os.geteuid() != 0 or self.uid == 0:
            return {}
        groups = os.getgrouplist(self.user.pw_name, self.gid)
        return {"user": self.uid, "group": self.gid, "extra_groups": groups}

    def environment(self) -> Dict[str, str]:
        env = dict(read_environment(self._root))
        path = env.get("PATH") or os.environ.get("PATH") or "/usr/local/bin:/usr/bin:/bin"
        env.update(
            HOME=str(self.home),
            USER=self.user.pw_name,
            LOGNAME=self.user.pw_name,
            SHELL=self.user.pw_shell or "/bin/sh",
            PATH=":".join([str(self.home / ".local/bin"), path]),
            AWS_REGION=self._region,
            AWS_DEFAULT_REGION=self._region,
            PYTHONUNBUFFERED="1",
            SKYLIFT_JOB=self._job,
        )
        env.setdefault("LANG", "C.UTF-8")
        return env
