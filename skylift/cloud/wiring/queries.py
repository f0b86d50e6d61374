"""The questions that compute asks the store: facts for the metadata service, names for DNS."""

from __future__ import annotations

from collections.abc import Callable

from skylift.cloud.compute.network.metadata import InstanceFacts, RoleCredentials
from skylift.cloud.domain.error import ServiceError
from skylift.cloud.loops.ec2.server_spec import LaunchSpecBuilder
from skylift.cloud.loops.vpc import names
from skylift.cloud.services.ec2.dedicated_host import forget_released
from skylift.cloud.services.ec2.instance import forget_terminated
from skylift.cloud.services.iam import identity
from skylift.cloud.services.vpc.nat_gateway import forget_deleted
from skylift.cloud.services.vpc.peering import forget_ended
from skylift.cloud.store.alarm import forget_history
from skylift.cloud.store.command import forget_commands
from skylift.cloud.store.database import Database, Tx
from skylift.cloud.store.fleet import forget_fleets
from skylift.cloud.store.market import forget_requests
from skylift.cloud.store.scaling_group import forget_activities
from skylift.cloud.store.schedule import forget_refused
from skylift.cloud.store.shrink import shrink
from skylift.cloud.store.usage import forget_usages

FORGETTING: tuple[Callable[[Tx], bool | None], ...] = (
    forget_terminated,
    forget_deleted,
    forget_ended,
    forget_released,
    forget_activities,
    forget_requests,
    forget_fleets,
    forget_history,
    forget_commands,
    forget_usages,
    forget_refused,
)
"""Each forgets some of what is too old, and says whether there may be more. Terminated instances and deleted NAT
gateways stay described for an hour, what they cost for much longer, and what happened to alarms, and commands, for a
month."""


class Queries:
    """Questions that compute asks of the store."""

    def __init__(self, database: Database, spec_builder: LaunchSpecBuilder, region: str) -> None:
        self._database = database
        self._spec_builder = spec_builder
        self._region = region

    def facts_for(self, vpc_id: str, address: str) -> InstanceFacts | None:
        with self._database.read() as tx:
            return self._spec_builder.facts(tx, vpc_id, address, self._credentials)

    def has_dns(self, vpc_id: str) -> bool:
        with self._database.read() as tx:
            return names.has_dns(tx, vpc_id)

    def address_of(self, vpc_id: str, name: str) -> str | None:
        with self._database.read() as tx:
            return names.address_of(tx, vpc_id, name, self._region)

    def name_of(self, vpc_id: str, address: str) -> str | None:
        with self._database.read() as tx:
            return names.name_of(tx, vpc_id, address, self._region)

    def forget(self) -> None:
        """A little in each transaction: other writers have their turn."""
        for some in FORGETTING:
            more: bool | None = True
            while more:
                with self._database.write() as tx:
                    more = some(tx)

    def shrink(self) -> None:
        shrink(self._database)

    def _credentials(self, instance_id: str, delivery: str) -> RoleCredentials | str | None:
        try:
            with self._database.write() as tx:
                session = identity.instance_credentials(tx, instance_id, delivery)
        except ServiceError as error:
            return error.code
        if session is None:
            return None
        return RoleCredentials(session.access_key_id, session.secret, session.token, session.created, session.expires)
