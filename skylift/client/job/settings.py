"""Where jobs run (Settings), and how their servers can be reached (Access)."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

from skylift.client.errors import UsageError
from skylift.client.job.cache import NOWHERE, Cache

REGION_FORM = re.compile(r"[a-z]{2,4}(?:-[a-z]+)+-\d")
_OTHER_PARTITION = re.compile(r"(?:cn|us-gov|us-iso[a-z]?|eu-isoe|eusc)-")
"""Regions of AWS whose ARNs do not begin with arn:aws, as all that are made here do."""


class Secret:
    """A value that is never shown: its repr and str are stars."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        return self._value

    def __repr__(self) -> str:
        return "Secret('***')"

    __str__ = __repr__

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._value == self._value

    def __hash__(self) -> int:
        return hash(self._value)


@dataclass(frozen=True)
class Credentials:
    access_key_id: str
    secret_access_key: Secret
    session_token: Secret | None = None


@dataclass(frozen=True)
class NewestImage:
    """The newest available image whose name matches `pattern`. `has_uv` is known of skylift's own."""

    pattern: str
    owners: tuple[str, ...]
    has_uv: bool = False


@dataclass(frozen=True)
class PublishedImage:
    """The image that a publisher's public parameter names; `parameters` are by processor (x86_64, arm64)."""

    name: str
    parameters: Mapping[str, str]
    has_uv: ClassVar[bool] = False


@dataclass(frozen=True)
class OneImage:
    """The image with this id, or whose id is in this parameter."""

    id: str = ""
    parameter: str = ""
    has_uv: ClassVar[bool] = False


ImageChoice = NewestImage | PublishedImage | OneImage


@dataclass(frozen=True)
class Access:
    """How a job's server can be reached, and where it stands if not in skylift's own network.

    `ssh_from` is who may open SSH, instead of the address that this machine is seen to come from. `private` is no
    public address. `subnet` and `groups` are the user's own; without groups, skylift makes one in the subnet's VPC.
    """

    private: bool = False
    ssh_from: str | None = None
    subnet: str | None = None
    groups: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.ssh_from is not None:
            try:
                ipaddress.IPv4Network(self.ssh_from)
            except ValueError as error:
                raise UsageError(
                    f"--ssh-from {self.ssh_from!r}: {error}.", "An address is like 203.0.113.7, a range 203.0.113.0/24."
                ) from None
        if self.private and self.ssh_from is not None:
            raise UsageError("--private and --ssh-from exclude each other: a private server is not reached by SSH.")
        if self.subnet is not None and not re.fullmatch(r"subnet-[0-9a-f]{8,17}", self.subnet):
            raise UsageError(f"--subnet {self.subnet!r} is not the id of a subnet.", "An id is like subnet-0123abcd.")
        for group in self.groups:
            if not re.fullmatch(r"sg-[0-9a-f]{8,17}", group):
                raise UsageError(f"--security-group {group!r} is not the id of a group.", "An id is like sg-0123abcd.")
        if self.groups and self.subnet is None:
            raise UsageError("--security-group needs --subnet: a group belongs to the subnet's VPC.")


@dataclass(frozen=True)
class Machine:
    """The one machine that all servers of a place share, and what it has; `name` is how the place is spoken of."""

    name: str
    processor: Literal["x86_64", "arm64"]
    cpus: int
    memory_mib: int


@dataclass(frozen=True)
class Settings:
    """Where jobs run: read once, validated here, before anything is done.

    `endpoint_url` None is AWS itself, `credentials` None is boto3's own chain. `account` is asked of STS when it is
    not known. `caller_address` gives the IPv4 address that servers see this machine come from. `revive` brings a
    local cloud back that has ended and gives the URL where it is now; None where nothing can. `login_user` is who
    is logged in as where an image has that user; a job's server says who it is there. `billed` is whether servers cost
    money there. `cache` keeps what would take long to make anew. `machine` is None where servers have machines of their
    own. `environment_images` is whether images are made of environments: where snapshots cost nothing, and no image was
    asked for. `listeners` are the users of this machine who may be listening at the endpoint, which is on it then: to
    anybody else nothing is sent. None where the endpoint is elsewhere. `note` tells the user that a call waits for AWS,
    where nobody watches a job.
    """

    region: str
    key_dir: Path
    image: ImageChoice
    caller_address: Callable[[], str]
    endpoint_url: str | None = None
    credentials: Credentials | None = None
    account: str | None = None
    place: str = "AWS"
    login_user: str = "ec2-user"
    access: Access = Access()
    revive: Callable[[], str | None] | None = None
    billed: bool = True
    cache: Cache = NOWHERE
    machine: Machine | None = None
    environment_images: bool = False
    listeners: frozenset[int] | None = None
    note: Callable[[str], object] = lambda _: None

    @property
    def address(self) -> str:
        """Tells this place from others, in the names of what the cache has of it."""
        return f"{self.endpoint_url or 'AWS'} {self.region} {self.account or ''}"

    def __post_init__(self) -> None:
        if not REGION_FORM.fullmatch(self.region):
            raise UsageError(f"{self.region!r} is not the name of a region.", "A region is like us-east-1.")
        if self.endpoint_url is None and _OTHER_PARTITION.match(self.region):
            raise UsageError(
                f"{self.region} is in another partition of AWS than `aws`, and skylift cannot run jobs there yet.",
                "Any region of the partition `aws` will do, like us-east-1.",
            )
        if self.endpoint_url is not None and not self.endpoint_url.startswith(("http://", "https://")):
            raise UsageError(f"The endpoint {self.endpoint_url!r} is not an http or https URL.")
        if self.account is not None and not re.fullmatch(r"\d{12}", self.account):
            raise UsageError(f"{self.account!r} is not an account: it must be 12 digits.")
        if self.access.private and self.access.subnet is None and self.endpoint_url is None:
            raise UsageError(
                "--private needs --subnet on AWS: in skylift's own network, only a public address leads to S3.",
                "Name a subnet that has a gateway endpoint for S3, or a NAT gateway.",
            )
