"""The older form of a launch template, which only Auto Scaling has: it has a name, and is never changed."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime

from skylift.cloud.domain.launch_request import InterfaceRequest, LaunchRequest


@dataclass(frozen=True)
class LaunchConfiguration:
    """`launch` has no subnet: each launch chooses its own."""

    name: str
    arn: str
    created: datetime
    launch: LaunchRequest

    @property
    def public_ip(self) -> bool | None:
        """Whether instances get a public address; None leaves it to the subnet."""
        return self._interface.public_ip

    @property
    def group_ids(self) -> tuple[str, ...]:
        return self.launch.group_ids or self._interface.group_ids or ()

    def launch_in(self, subnet_id: str) -> LaunchRequest:
        if self.launch.interfaces:
            return replace(self.launch, interfaces=(replace(self._interface, subnet_id=subnet_id),))
        return replace(self.launch, subnet_id=subnet_id)

    @property
    def _interface(self) -> InterfaceRequest:
        """The interface, which `launch` has if the configuration sets whether there are public addresses."""
        return self.launch.interfaces[0] if self.launch.interfaces else InterfaceRequest()
