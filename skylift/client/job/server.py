"""A job's server: an instance, as EC2 described it last."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from skylift.client.job.tags import TAG_CONFIGURATION, TAG_WORKER, job_of


@dataclass(frozen=True)
class Server:
    """An instance as EC2 last described it.

    `address` is its public IPv4 address, once it has one, and `role` the role of its instance profile. `configuration`
    is its tag for a server that is kept (see launch/kept_server.py). `parts` are its disks and network interfaces.
    `worker` is whether it only runs inputs of a map.
    """

    instance: str
    state: str
    address: str | None
    reason: str
    job: str
    type: str
    launched: str
    zone: str = ""
    key: str = ""
    groups: tuple[str, ...] = ()
    role: str = ""
    configuration: str = ""
    parts: tuple[str, ...] = ()
    worker: bool = False
    image: str = ""

    @property
    def gone(self) -> bool:
        return self.state in {"shutting-down", "terminated", "stopping", "stopped"}


def parse_server(instance: dict[str, Any]) -> Server:
    tags = {tag["Key"]: tag["Value"] for tag in instance.get("Tags", [])}
    launched = instance["LaunchTime"]
    return Server(
        instance=instance["InstanceId"],
        state=instance["State"]["Name"],
        address=instance.get("PublicIpAddress") or None,
        reason=instance.get("StateReason", {}).get("Message", "") or instance.get("StateTransitionReason", ""),
        job=job_of(instance.get("Tags", [])),
        type=instance["InstanceType"],
        launched=launched.isoformat(timespec="seconds").replace("+00:00", "Z"),
        zone=instance.get("Placement", {}).get("AvailabilityZone", ""),
        key=instance.get("KeyName", ""),
        groups=tuple(each["GroupId"] for each in instance.get("SecurityGroups", [])),
        role=instance.get("IamInstanceProfile", {}).get("Arn", "").rpartition("/")[2],
        configuration=tags.get(TAG_CONFIGURATION, ""),
        parts=(
            *(each["Ebs"]["VolumeId"] for each in instance.get("BlockDeviceMappings", [])),
            *(each["NetworkInterfaceId"] for each in instance.get("NetworkInterfaces", [])),
        ),
        worker=TAG_WORKER in tags,
        image=str(instance.get("ImageId", "")),
    )
