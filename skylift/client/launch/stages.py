"""The stages of a job until its server has it, a type for each: Checked, Provisioned, Launched.

The stages after them are Streamed (watch/streaming.py) and Collected (collect/collecting.py).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from skylift.client.job.job import Job
from skylift.client.job.record import JobKeys
from skylift.client.job.server import Server
from skylift.client.launch.host_keys import HostKeys
from skylift.client.launch.kept_server import KeptServer
from skylift.client.launch.key import LocalKeyPair
from skylift.client.launch.network import Network
from skylift.client.launch.reach import EVERYTHING, Reach
from skylift.client.launch.role import JobRole
from skylift.client.remote.account import Account
from skylift.client.remote.connection import Connection
from skylift.client.ship.upload import Shipment

if TYPE_CHECKING:
    from skylift.client.dask.tools import Tools


@dataclass(frozen=True)
class Checked:
    """A job that may be started. All mistakes that can be found are found by now, and nothing has been made yet.

    `image` is the id of the image that the job's own server starts from, `base` of the one that was chosen: they differ
    where there is an image that has the job's environment. `caller` is the IPv4 range that may open SSH.
    `configuration` is what a kept server must have in common with the job, as one digest.
    `kept` are the kept servers that have it and wait for a job. `tools` are those of a map. `reach` is what of AWS the
    servers' subnet leads to.
    """

    account: Account
    shipment: Shipment
    image: str
    caller: str | None
    configuration: str
    kept: tuple[KeptServer, ...]
    tools: Tools | None = None
    base: str = ""
    reach: Reach = EVERYTHING

    @property
    def job(self) -> Job:
        return self.shipment.job

    @property
    def may_have_image(self) -> bool:
        """Whether an image may be made of the job's environment. The servers of a spot job start from the image that
        was chosen: the last of them may be started days later, when another one is gone."""
        wanted = self.account.settings.environment_images and self.shipment.prebuilt is not None
        return wanted and self.job.spot is None

    @property
    def prefix(self) -> JobKeys:
        return JobKeys(self.job.name)


@dataclass(frozen=True)
class Provisioned:
    """What a job's server needs before it can start."""

    network: Network
    key: LocalKeyPair
    role: JobRole
    user_data: str


@dataclass(frozen=True)
class Launched:
    """A job that its server has: from here on it needs nobody. `deadline` is in seconds since the epoch; `connection`
    is an SSH connection to the server that is open already. `capped` is whether the cloud ends the server after its
    deadline, if it does not end itself."""

    account: Account
    job: Job
    server: Server
    host_keys: HostKeys | None
    deadline: float
    connection: Connection | None = None
    capped: bool = True
