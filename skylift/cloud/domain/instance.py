"""Nouns of a server: the instance, the image it starts from, the type that bounds it, the key that opens it."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

from skylift.cloud.domain.volume import BlockDevice

State = Literal["pending", "running", "shutting-down", "terminated", "stopping", "stopped"]

STATE_CODES: dict[State, int] = {
    "pending": 0,
    "running": 16,
    "shutting-down": 32,
    "terminated": 48,
    "stopping": 64,
    "stopped": 80,
}


@dataclass(frozen=True)
class MetadataOptions:
    """How an instance's metadata service answers; AWS's default for new images is v2 only with two hops."""

    tokens: Literal["required", "optional"] = "required"
    endpoint: Literal["enabled", "disabled"] = "enabled"
    hop_limit: int = 2
    tags: Literal["enabled", "disabled"] = "disabled"


@dataclass(frozen=True)
class FailedCheck:
    """A status check of a server that fails: since when, and why."""

    since: datetime
    reason: str


@dataclass(frozen=True)
class Instance:
    """Intent (`desired`) and what was observed (`state`), in one row.

    Only services write `desired`. They also write the transitional `state` that AWS answers with (`pending`,
    `stopping`, `shutting-down`); loops write the states that say what was observed. `uid_base` is the first host uid of
    the server's user namespace, and stays with the instance because its disk is written with it. `user_data` is base64,
    as it came. `ended` is when it became `terminated`. `rebooting` asks for a running server to be shut down and
    started again; with `forced` it is switched off without a shutdown. `booted` is whether it has run: its disk is then
    worth keeping. `association_id` is the instance profile association's. The API does not stop or end a protected
    instance, but its own shutdown does. The two checks are set while they fail.
    """

    id: str
    reservation_id: str
    launch_index: int
    image_id: str
    type: str
    zone: str
    vpc_id: str
    subnet_id: str
    launched: datetime
    uid_base: int
    key_name: str | None = None
    public_key: str | None = None
    user_data: str | None = None
    profile_arn: str | None = None
    profile_id: str | None = None
    client_token: str | None = None
    shutdown_behavior: Literal["stop", "terminate"] = "stop"
    termination_protected: bool = False
    metadata: MetadataOptions = MetadataOptions()
    desired: Literal["running", "stopped", "terminated"] = "running"
    state: State = "pending"
    state_reason_code: str = ""
    state_reason: str = ""
    transition_reason: str = ""
    ended: datetime | None = None
    tags: dict[str, str] = field(default_factory=dict)
    rebooting: bool = False
    forced: bool = False
    booted: bool = False
    association_id: str | None = None
    stop_protected: bool = False
    placement_group: str = ""
    placement_group_id: str | None = None
    partition: int | None = None
    spot_request_id: str | None = None
    detailed_monitoring: bool = False
    tenancy: Literal["default", "dedicated", "host"] = "default"
    host_id: str | None = None
    affinity: Literal["default", "host"] = "default"
    instance_check: FailedCheck | None = None
    system_check: FailedCheck | None = None


@dataclass(frozen=True)
class Console:
    """The last output of a server on its console, and when it was read."""

    instance_id: str
    text: str
    at: datetime


@dataclass(frozen=True)
class Image:
    """A root file system in the state directory.

    `owner` is `amazon` for an image that the cloud provides in place of one of Amazon's, and `self` for the account's
    images. `description` says what it is and what it replaces. A `pending` image waits until the disk of
    `source_instance_id` is copied: while that server is off, or with `no_reboot` as it runs. A `deregistered` image can
    no longer be seen or used; it stays while a server's disk lies over its `root`. `snapshot_id` is the root volume's
    snapshot, `size_gib` the volume's size. `devices` are the volumes that its instances get, including the root volume
    if it differs from the default. From `deprecates` on, only its owner sees it. `protected_until` is when the cooldown
    of a protection that was switched off ends.
    """

    id: str
    name: str
    description: str
    root: str
    size_gib: int
    created: datetime
    architecture: Literal["x86_64", "arm64"]
    owner: Literal["amazon", "self"] = "amazon"
    public: bool = True
    state: Literal["pending", "available", "failed", "disabled", "deregistered"] = "available"
    state_reason: str = ""
    launch_users: tuple[str, ...] = ()
    source_instance_id: str | None = None
    source_image_id: str | None = None
    no_reboot: bool = False
    tags: dict[str, str] = field(default_factory=dict)
    snapshot_id: str | None = None
    devices: tuple[BlockDevice, ...] = ()
    deprecates: datetime | None = None
    protection: Literal["disabled", "enabled-without-cooldown", "enabled-with-cooldown"] = "disabled"
    protected_until: datetime | None = None
    last_launched: datetime | None = None


@dataclass(frozen=True)
class KeyPair:
    """`public_key` is the line for `authorized_keys`; the private half is never kept."""

    id: str
    name: str
    kind: Literal["rsa", "ed25519"]
    fingerprint: str
    public_key: str
    created: datetime
    tags: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class ClientToken:
    """The use of a client's token: the same request again gets the same `result` (the id of the new resource)."""

    operation: str
    token: str
    digest: str
    result: str
