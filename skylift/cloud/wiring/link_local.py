"""The services that a VPC's servers reach at link-local addresses: metadata, DNS and the AWS endpoint."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass

from skylift.cloud.compute.network.error import NetworkError
from skylift.cloud.compute.network.firewall import DNS, ENDPOINT, METADATA, dns_address
from skylift.cloud.compute.network.metadata import MetadataService
from skylift.cloud.compute.network.network import CloudNetwork
from skylift.cloud.compute.network.plan import VpcPlan
from skylift.cloud.compute.network.resolver import HostNames, Names, Resolver, Serving, serve
from skylift.cloud.domain.network import Vpc
from skylift.cloud.domain.upstream import FORWARDER
from skylift.cloud.wire.call import Request, Response
from skylift.cloud.wire.endpoint import AwsEndpoint
from skylift.cloud.wire.server import HttpServer, blocking


@dataclass(frozen=True)
class _VpcServices:
    """The services of one VPC."""

    sockets: tuple[socket.socket, ...]
    metadata: HttpServer
    names: Serving


class LinkLocalServices:
    """The services that servers reach at link-local addresses of their VPC: metadata, names and the AWS endpoint."""

    def __init__(self, network: CloudNetwork, api: AwsEndpoint, metadata: MetadataService, names: Names) -> None:
        self._network = network
        self._api = api
        self._metadata = metadata
        self._names = names
        self._loop = asyncio.get_running_loop()
        self._host_names = HostNames()
        self._open: dict[str, _VpcServices] = {}

    def follow(self, plans: list[VpcPlan]) -> dict[str, NetworkError]:
        """Serves exactly these VPCs, and knows the owners of their addresses. Called from the loops' threads; returns
        once servers can reach it. Returns the VPCs for which it failed, and why."""
        self._api.senders.servers = dict(_servers(plans))
        vpcs = {plan.vpc.id: plan.vpc for plan in plans}
        return asyncio.run_coroutine_threadsafe(self._follow(vpcs), self._loop).result()

    async def _follow(self, vpcs: dict[str, Vpc]) -> dict[str, NetworkError]:
        for vpc_id in self._open.keys() - vpcs.keys():
            await self._close(self._open.pop(vpc_id))
        refused: dict[str, NetworkError] = {}
        for vpc_id in [each for each in vpcs if each not in self._open]:
            try:
                self._open[vpc_id] = await self._start(vpcs[vpc_id])
            except NetworkError as error:
                # It is tried again; the servers of other VPCs need theirs.
                refused[vpc_id] = error
        return refused

    async def _start(self, vpc: Vpc) -> _VpcServices:
        """Starts all services or none, so that the next attempt finds each address free."""
        listen = self._network.listen
        async with AsyncExitStack() as undo:
            endpoint = listen(vpc.id, ENDPOINT, 80)
            await self._api.add_socket(endpoint, vpc_id=vpc.id)
            undo.push_async_callback(self._api.remove_socket, endpoint)
            metadata = HttpServer(blocking(self._answer_metadata), senders=self._api.senders)
            undo.push_async_callback(metadata.stop, grace=0)
            await metadata.add_socket(listen(vpc.id, METADATA, 80), place=vpc.id)
            sockets = []
            for address in (DNS, str(dns_address(vpc))):
                for kind in ("udp", "tcp"):
                    sockets.append(listen(vpc.id, address, 53, kind))
                    undo.callback(sockets[-1].close)
            names = await serve(Resolver(vpc.id, self._names, self._host_names), sockets)
            undo.pop_all()
        return _VpcServices((endpoint,), metadata, names)

    async def close(self) -> None:
        await self._follow({})

    async def _close(self, services: _VpcServices) -> None:
        for one in services.sockets:
            await self._api.remove_socket(one)
        await services.metadata.stop(grace=0)
        services.names.close()

    def _answer_metadata(self, request: Request) -> Response:
        headers = {name: values[0] for name, values in request.headers_by_name.items()}
        answer = self._metadata.answer(request.method, request.path, headers, request.place, request.source_ip)
        return Response(answer.status, answer.headers, answer.body, answer.hops)


def _servers(plans: list[VpcPlan]) -> Iterator[tuple[tuple[str, str], str]]:
    """The owner of each address: private addresses by VPC, public addresses where the forwarder sees them."""
    for plan in plans:
        for interface in plan.interfaces:
            for address in interface.addresses:
                yield (plan.vpc.id, address.private_ip), interface.instance_id or interface.id
                yield (FORWARDER, address.public_ip or ""), interface.instance_id or interface.id
        yield from (((FORWARDER, at.public_ip or ""), nat.id) for nat in plan.nat_gateways for at in nat.addresses)
