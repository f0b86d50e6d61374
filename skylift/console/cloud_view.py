"""What all pages share: the port, and the lists that are looked at once for all tabs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from urllib.parse import quote

from skylift.console.call import Call
from skylift.console.identity import Identities, RoleRow, UserRow
from skylift.console.market import Market, SpotRow
from skylift.console.networks import AddressRow, Networks
from skylift.console.poller import Topic
from skylift.console.port import Port
from skylift.console.rows import BucketRow, InstanceRow, JobRow, KeyPairRow, SecurityGroupRow, VpcRow
from skylift.console.scaling import GroupRow, Scaling
from skylift.console.widgets.frame import Found

_HERE, _ON_AWS = (0.9, 2.0, 2.0), (5.0, 10.0, 20.0)
"""Seconds between two looks at what changes often, seldom, rarely. A machine's own cloud is asked more often than AWS,
which counts calls."""


@dataclass
class CloudView:
    port: Port
    instances: Topic = field(init=False)
    jobs: Topic = field(init=False)
    key_pairs: Topic = field(init=False)
    security_groups: Topic = field(init=False)
    vpcs: Topic = field(init=False)
    buckets: Topic = field(init=False)
    roles: Topic = field(init=False)
    users: Topic = field(init=False)
    scaling_groups: Topic = field(init=False)
    spot_requests: Topic = field(init=False)
    addresses: Topic = field(init=False)

    def __post_init__(self) -> None:
        often, seldom, rarely = _ON_AWS if self.port.settings.billed else _HERE
        self.instances = Topic(self.port.instances, often)
        self.jobs = Topic(self.port.jobs, seldom)
        self.key_pairs = Topic(self.port.key_pairs, seldom)
        self.security_groups = Topic(self.port.security_groups, seldom)
        self.vpcs = Topic(self.port.vpcs, seldom)
        self.buckets = Topic(self.port.buckets, seldom)
        identities = Identities(self.port)
        self.roles = Topic(identities.roles, rarely)
        self.users = Topic(identities.users, rarely)
        self.scaling_groups = Topic(Scaling(self.port).groups, often)
        self.spot_requests = Topic(Market(self.port).requests, often)
        self.addresses = Topic(Networks(self.port).addresses, seldom)

    def perform(self, call: Call) -> object:
        """In a thread. Raises SkyliftError."""
        return self.port.perform(call)

    def find(self, text: str) -> Iterator[Found]:
        """By id, name or address, in what was last seen: what begins with the text comes first."""
        wanted = text.casefold()
        hits = [
            (min((0 if word.casefold().startswith(wanted) else 1) for word in words if wanted in word.casefold()), hit)
            for words, hit in self._all()
            if any(wanted in word.casefold() for word in words)
        ]
        return (hit for _, hit in sorted(hits, key=lambda each: each[0]))

    def _all(self) -> Iterator[tuple[tuple[str, ...], Found]]:
        for row in self.instances.rows:
            if isinstance(row, InstanceRow):
                shown = f"{row.name} · {row.id}" if row.name else row.id
                yield (row.id, row.name, row.public, row.private), Found(shown, row.state, f"/instances/{row.id}")
        for row in self.jobs.rows:
            if isinstance(row, JobRow):
                yield (row.id, row.server), Found(row.id, f"job, {row.state}", f"/jobs/{quote(row.id, safe='')}")
        for row in self.key_pairs.rows:
            if isinstance(row, KeyPairRow):
                yield (row.id, row.name), Found(row.name, "key pair", "/key-pairs")
        for row in self.security_groups.rows:
            if isinstance(row, SecurityGroupRow):
                shown = f"{row.name} · {row.id}"
                yield (row.id, row.name), Found(shown, "security group", f"/security-groups/{row.id}")
        for row in self.vpcs.rows:
            if isinstance(row, VpcRow):
                yield (row.id, row.name, row.cidr), Found(row.name or row.id, "VPC", f"/vpcs/{row.id}")
        for row in self.addresses.rows:
            if isinstance(row, AddressRow):
                yield (row.id, row.name, row.address), Found(row.address, "Elastic IP", "/addresses")
        for row in self.buckets.rows:
            if isinstance(row, BucketRow):
                yield (row.id,), Found(row.id, "bucket", f"/s3/{row.id}")
        for row in self.roles.rows:
            if isinstance(row, RoleRow):
                yield (row.id,), Found(row.id, "role", f"/roles/{quote(row.id, safe='')}")
        for row in self.users.rows:
            if isinstance(row, UserRow):
                yield (row.id,), Found(row.id, "user", f"/users/{quote(row.id, safe='')}")
        for row in self.scaling_groups.rows:
            if isinstance(row, GroupRow):
                yield (row.id,), Found(row.id, "Auto Scaling group", f"/scaling/{quote(row.id, safe='')}")
        for row in self.spot_requests.rows:
            if isinstance(row, SpotRow):
                yield (row.id,), Found(row.id, f"spot request, {row.state}", "/spot")
