"""`skylift cloud connect`: the steps to a shell on an instance, as AWS's console shows them."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer

from skylift.cli.say import say_text

if TYPE_CHECKING:
    from skylift.client.remote.api import Api

_NOT_THERE = ("InvalidInstanceID.NotFound", "InvalidInstanceID.Malformed")
_FINGERPRINT = re.compile(r"\b(SHA256:\S+) .*\(ED25519\)")


def connect(
    instance: Annotated[str, typer.Argument(metavar="INSTANCE", help="Instance id, or value of its Name tag.")],
    user: Annotated[str, typer.Option(help="Login user; default: the image's.")] = "",
) -> None:
    """Print the steps to connect to an instance with SSH."""
    from skylift.cli.bar import build_bar
    from skylift.client.remote.api import Api
    from skylift.cloud.state.home import default_home
    from skylift.place.local import local_settings, running_cloud

    running_cloud(default_home())
    settings = local_settings(build_bar)
    say_text(steps(find(Api(settings), instance), user or settings.login_user))


@dataclass(frozen=True)
class SshTarget:
    """An instance that can be connected to. `key` is the name of its key pair, `fingerprint` of its host key."""

    id: str
    name: str
    address: str
    key: str | None
    fingerprint: str | None


def find(api: Api, wanted: str) -> SshTarget:
    """The instance with this id or name. Raises UsageError where there is none that a connection could be made to."""
    from skylift.client.errors import UsageError

    found = _described(api, wanted)
    state = found["State"]["Name"]
    if state != "running":
        raise UsageError(
            f"{found['InstanceId']} is {state}; only a running instance can be connected to.", _next_step(found)
        )
    address = found.get("PublicIpAddress")
    if address is None:
        raise UsageError(
            f"{found['InstanceId']} has no public IPv4 address, so it cannot be reached from here.",
            "Go through an instance of its VPC that has one (ssh -J), or launch it with --associate-public-ip-address.",
        )
    console = api.call("ec2", "get_console_output", InstanceId=found["InstanceId"], Latest=True).get("Output", "")
    shown = _FINGERPRINT.search(console)
    return SshTarget(
        id=found["InstanceId"],
        name=_name(found),
        address=address,
        key=found.get("KeyName"),
        fingerprint=shown[1] if shown else None,
    )


def steps(target: SshTarget, user: str) -> str:
    """The text for a terminal."""
    called = f"{target.id} ({target.name})" if target.name else target.id
    login = f"{user}@{target.address}"
    if target.key is None:
        ways = [
            f"{called} was launched without a key pair. Send it a public key of yours, which is good for 60 seconds:",
            f"aws ec2-instance-connect send-ssh-public-key --instance-id {target.id} --instance-os-user "
            f"{shlex.quote(user)} --ssh-public-key file://$HOME/.ssh/id_ed25519.pub",
            "Connect to it at its public address:",
            f"ssh -i ~/.ssh/id_ed25519 {shlex.quote(login)}",
        ]
    else:
        file = shlex.quote(f"{target.key}.pem")
        ways = [
            f"Find your private key file. {called} was launched with the key pair {target.key}.",
            "Make sure that nobody else can read it, or ssh will not take it:",
            f"chmod 400 {file}",
            "Connect to the instance at its public address:",
            f"ssh -i {file} {shlex.quote(login)}",
        ]
    if target.fingerprint:
        ways.append(f"At the first connection, compare the ED25519 fingerprint: {target.fingerprint}")
    return _numbered(ways)


def _numbered(ways: list[str]) -> str:
    """Commands belong to the step before them."""
    lines, number = [], 0
    for way in ways:
        if way.startswith(("chmod ", "ssh ", "aws ")):
            lines.append(f"\n     {way}\n\n")
        else:
            number += 1
            lines.append(f"{number}. {way}\n")
    return "".join(lines)


def _described(api: Api, wanted: str) -> dict[str, Any]:
    from skylift.client.errors import Refused, UsageError

    by_id = wanted.startswith("i-")
    query: dict[str, Any] = (
        {"InstanceIds": [wanted]}
        if by_id
        else {
            "Filters": [
                {"Name": "tag:Name", "Values": [re.sub(r"([*?\\])", r"\\\1", wanted)]},
                {"Name": "instance-state-name", "Values": ["pending", "running", "stopping", "stopped"]},
            ]
        }
    )
    try:
        reservations = api.pages("ec2", "describe_instances", "Reservations", **query)
    except Refused as error:
        if error.code not in _NOT_THERE:
            raise
        reservations = []
    instances = [instance for reservation in reservations for instance in reservation["Instances"]]
    if not instances:
        what = "with the id" if by_id else "called"
        raise UsageError(f"There is no instance {what} {wanted}.", "See: aws ec2 describe-instances")
    if len(instances) > 1:
        ids = ", ".join(instance["InstanceId"] for instance in instances)
        raise UsageError(f"{len(instances)} instances are called {wanted}.", f"Say which, by its id: {ids}")
    found: dict[str, Any] = instances[0]
    return found


def _next_step(found: dict[str, Any]) -> str:
    """From the state that an instance is in to one that it can be connected to in."""
    return {
        "pending": f"Wait for it: aws ec2 wait instance-running --instance-ids {found['InstanceId']}",
        "stopping": "Start it once it is stopped.",
        "stopped": f"Start it: aws ec2 start-instances --instance-ids {found['InstanceId']}",
    }.get(found["State"]["Name"], "")


def _name(found: dict[str, Any]) -> str:
    return next((str(tag["Value"]) for tag in found.get("Tags", []) if tag["Key"] == "Name"), "")
