"""What all pages share: the port, and the lists that are polled once for all tabs."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from typing import Any
from urllib.parse import quote

from skylift.console.call import Call
from skylift.console.identity import Identities
from skylift.console.job_port import JobPort
from skylift.console.map_inputs import InputRow, MapInputs
from skylift.console.market import Market
from skylift.console.networks import GatewayRow, Networks
from skylift.console.poller import Topic
from skylift.console.port import Port
from skylift.console.scaling import Scaling
from skylift.console.whereabouts import look_up
from skylift.console.widgets.dialog import confirm
from skylift.console.widgets.frame import Found

_HERE, _ON_AWS = (0.9, 2.0, 2.0), (5.0, 10.0, 20.0)
"""Seconds between two looks at what changes often, seldom, rarely. A machine's own cloud is asked more often than AWS,
which counts calls."""

_MOST_ELSEWHERE = 20
"""Things in no list that the search has found last."""
_MOST_MAPS, _MOST_VPCS = 20, 20
"""Maps whose record is kept in memory, and VPCs whose gateways are. The pages that show an older one go on by
themselves."""


class CloudView:
    def __init__(self, port: Port) -> None:
        self.port = port
        often, seldom, rarely = _ON_AWS if port.settings.billed else _HERE
        self._often, self._seldom, self._rarely = often, seldom, rarely
        self._elsewhere: dict[str, Found] = {}
        self._gateways: dict[str, Topic[GatewayRow]] = {}
        self._opening = threading.Lock()
        self.job_port = JobPort(port)
        self._maps: dict[str, tuple[MapInputs, Topic[InputRow]]] = {}
        self.instances = Topic(port.instances, often)
        self.jobs = Topic(self.job_port.jobs, seldom)
        self.clusters = Topic(self.job_port.clusters, seldom)
        self.key_pairs = Topic(port.key_pairs, seldom)
        self.security_groups = Topic(port.security_groups, seldom)
        self.vpcs = Topic(port.vpcs, seldom)
        self.buckets = Topic(port.buckets, seldom)
        identities = Identities(port)
        self.roles = Topic(identities.roles, rarely)
        self.users = Topic(identities.users, rarely)
        self.scaling_groups = Topic(Scaling(port).groups, often)
        self.spot_requests = Topic(Market(port).requests, often)
        self.addresses = Topic(Networks(port).addresses, seldom)

    def map_inputs(self, job: str) -> tuple[MapInputs, Topic[InputRow]]:
        """Of a map; its record is read once for all tabs. In a thread. Raises SkyliftError, also for a job that is no
        map."""
        with self._opening:
            if job not in self._maps:
                inputs = MapInputs(self.port.reached, job)
                while len(self._maps) >= _MOST_MAPS:
                    self._maps.pop(next(iter(self._maps)))
                self._maps[job] = inputs, Topic(inputs.rows, self._often)
            return self._maps[job]

    def gateways(self, vpc: str) -> Topic[GatewayRow]:
        """Of a VPC. They take minutes to come and to go."""
        if vpc not in self._gateways:
            while len(self._gateways) >= _MOST_VPCS:
                self._gateways.pop(next(iter(self._gateways)))
            self._gateways[vpc] = Topic(lambda: Networks(self.port).gateways(vpc), self._seldom)
        return self._gateways[vpc]

    def perform(self, call: Call) -> object:
        """In a thread. Raises SkyliftError."""
        return self.port.perform(call)

    def confirm(
        self,
        title: str,
        lines: Sequence[str],
        text: str,
        *calls: Call,
        dangerous: bool = True,
        done: Callable[[], Any] = lambda: None,
    ) -> None:
        """Ask before calls, which are performed one after the other."""
        command = "\n".join(each.command for each in calls)
        confirm(title, lines, command, text, lambda: list(map(self.perform, calls)), dangerous=dangerous, done=done)

    async def look_up(self, text: str) -> AsyncIterator[None]:
        """Has news for `find`, each time that there may be some: of lists that no page shows at the moment, and of what
        is in no list."""
        looks = [each.look_once(self._rarely) for each in vars(self).values() if isinstance(each, Topic)]
        for look in asyncio.as_completed([*looks, self._look_up(text)]):
            await look
            yield

    async def _look_up(self, text: str) -> None:
        found = await asyncio.to_thread(look_up, self.port, text)
        # Each letter that is typed asks; the answer to an earlier one, which may come later, takes no other away.
        self._elsewhere.pop(text, None)
        if found is not None:
            while len(self._elsewhere) >= _MOST_ELSEWHERE:
                self._elsewhere.pop(next(iter(self._elsewhere)))
            self._elsewhere[text] = found

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
        for text, found in self._elsewhere.items():
            yield (text,), found
        for instance in self.instances.rows:
            shown = f"{instance.name} · {instance.id}" if instance.name else instance.id
            yield (
                (instance.id, instance.name, instance.public, instance.private),
                Found(shown, instance.state, f"/instances/{instance.id}"),
            )
        for job in self.jobs.rows:
            yield (job.id, job.server), Found(job.id, f"job, {job.state}", f"/jobs/{quote(job.id, safe='')}")
        for cluster in self.clusters.rows:
            yield (cluster.id,), Found(cluster.id, f"cluster, {cluster.state}", "/clusters")
        for key in self.key_pairs.rows:
            yield (key.id, key.name), Found(key.name, "key pair", "/key-pairs")
        for group in self.security_groups.rows:
            shown = f"{group.name} · {group.id}"
            yield (group.id, group.name), Found(shown, "security group", f"/security-groups/{group.id}")
        for vpc in self.vpcs.rows:
            yield (vpc.id, vpc.name, vpc.cidr), Found(vpc.name or vpc.id, "VPC", f"/vpcs/{vpc.id}")
        for address in self.addresses.rows:
            yield (address.id, address.name, address.address), Found(address.address, "Elastic IP", "/addresses")
        for bucket in self.buckets.rows:
            yield (bucket.id,), Found(bucket.id, "bucket", f"/s3/{bucket.id}")
        for role in self.roles.rows:
            yield (role.id,), Found(role.id, "role", f"/roles/{quote(role.id, safe='')}")
        for user in self.users.rows:
            yield (user.id,), Found(user.id, "user", f"/users/{quote(user.id, safe='')}")
        for scaling in self.scaling_groups.rows:
            yield (scaling.id,), Found(scaling.id, "Auto Scaling group", f"/scaling/{quote(scaling.id, safe='')}")
        for request in self.spot_requests.rows:
            yield (request.id,), Found(request.id, f"spot request, {request.state}", "/spot")
