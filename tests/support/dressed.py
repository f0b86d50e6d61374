"""The embedded EC2 dressed as AWS: a user with nothing but the permissions of docs/iam.md, in a home of its own."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from support.real_cloud import RealCloud

PAGE = Path(__file__).parents[2] / "docs" / "iam.md"


def documented_policies(account: str, region: str) -> list[dict[str, Any]]:
    """What is to be attached: every day's, and that of the first run."""
    return _policies(account, region)[:2]


def schedules_policy(account: str, region: str) -> dict[str, Any]:
    """What who makes schedules has besides."""
    return _policies(account, region)[2]


def maps_policy(account: str, region: str) -> dict[str, Any]:
    """What who runs maps on several servers has besides."""
    return _policies(account, region)[3]


def _policies(account: str, region: str) -> list[dict[str, Any]]:
    blocks = re.findall(r"```json\n(.*?)```", PAGE.read_text(), re.DOTALL)
    return [json.loads(block.replace("123456789012", account).replace("us-east-1", region)) for block in blocks]


class Somebody:
    """An IAM user that knows the account by its keys alone. `folder` is where it works."""

    def __init__(self, cloud: RealCloud, name: str, key: tuple[str, str], folder: Path) -> None:
        self._cloud, self.name, self.key, self.folder = cloud, name, key, folder
        folder.mkdir()
        endpoint = cloud.endpoint
        kept = {k: v for k, v in cloud.environment.items() if not k.startswith(("AWS_", "SKYLIFT_"))}
        self.environment = {
            **kept,
            "HOME": str(folder),
            "SKYLIFT_HOME": str(folder / "home"),
            "SKYLIFT_ON": "aws",
            "SKYLIFT_SSH_FROM": endpoint.loopback,
            "AWS_ENDPOINT_URL": endpoint.url,
            "AWS_DEFAULT_REGION": endpoint.region,
            "AWS_ACCESS_KEY_ID": key[0],
            "AWS_SECRET_ACCESS_KEY": key[1],
            "AWS_CONFIG_FILE": str(folder / "config"),
            "AWS_SHARED_CREDENTIALS_FILE": str(folder / "credentials"),
        }

    def skylift(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self._cloud.command(*arguments),
            capture_output=True,
            text=True,
            check=False,
            stdin=subprocess.DEVNULL,
            cwd=self.folder,
            env=self.environment,
        )

    def popen(self, *arguments: str, words: IO[str]) -> subprocess.Popen[str]:
        """The command line under way, its standard output ours to read."""
        started = subprocess.Popen(
            self._cloud.command(*arguments),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=words,
            text=True,
            cwd=self.folder,
            env=self.environment,
        )
        self._cloud.watch(started.pid)
        return started

    def know_by_profile(self) -> None:
        """The account's key where `aws configure` puts it, and nothing of it in the environment."""
        for name in [each for each in self.environment if each.startswith("AWS_")]:
            del self.environment[name]
        endpoint = self._cloud.endpoint
        settings = self.folder / ".aws"
        settings.mkdir()
        (settings / "credentials").write_text(
            f"[work]\naws_access_key_id = {self.key[0]}\naws_secret_access_key = {self.key[1]}\n"
        )
        (settings / "config").write_text(f"[profile work]\nregion = {endpoint.region}\nendpoint_url = {endpoint.url}\n")
        self.environment["AWS_PROFILE"] = "work"

    def allow(self, *policies: dict[str, Any]) -> None:
        """These, and nothing else any more."""
        iam = self._cloud.client("iam")
        for known in iam.list_attached_user_policies(UserName=self.name)["AttachedPolicies"]:
            iam.detach_user_policy(UserName=self.name, PolicyArn=known["PolicyArn"])
            iam.delete_policy(PolicyArn=known["PolicyArn"])
        for number, policy in enumerate(policies):
            name, text = f"{self.name}-{number}", json.dumps(policy)
            made = iam.create_policy(PolicyName=name, PolicyDocument=text)["Policy"]
            iam.attach_user_policy(UserName=self.name, PolicyArn=made["Arn"])


@contextmanager
def somebody(cloud: RealCloud, name: str) -> Iterator[Somebody]:
    iam = cloud.client("iam")
    iam.create_user(UserName=name)
    made = iam.create_access_key(UserName=name)["AccessKey"]
    who = Somebody(cloud, name, (made["AccessKeyId"], made["SecretAccessKey"]), cloud.work / name)
    try:
        yield who
    finally:
        who.allow()
        iam.delete_access_key(UserName=name, AccessKeyId=who.key[0])
        iam.delete_user(UserName=name)
