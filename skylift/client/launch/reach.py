"""What a job's servers must reach of AWS, and whether their subnet has a way there: known before anything starts.

A service without a way gives no answer, and whoever asks it waits. Only what is certain is refused: a route to a
transit gateway, a peer or an appliance may lead anywhere, and the endpoints of a subnet that another account shares
cannot be seen. There, the waits on the servers have an end of their own.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from skylift.client.errors import NotPermitted, UsageError
from skylift.client.job.job import Job
from skylift.client.job.settings import Settings
from skylift.client.launch.network import describe_subnet, find_network, route_table_of
from skylift.client.remote.account import Account


class Need(NamedTuple):
    """A service, and which jobs need it: `is_of` is called with a job, and whether it is a schedule's."""

    service: str
    is_of: Callable[[Job, bool], bool]
    why: str


NEEDS = (
    Need("s3", lambda job, _: True, "S3, which has the job's files, its output and its results"),
    Need("ec2", lambda job, runs: job.spot is not None and not runs, "EC2, which a job with --spot asks for its end"),
    Need("autoscaling", lambda job, _: job.has_workers, "Auto Scaling, which starts and ends the job's other servers"),
)
"""For all modes of a job. What else servers ask AWS for, they can do without: EC2 to be stopped with results that could
not be sent, or to end another run of a schedule that is silent, and EventBridge Scheduler to end a schedule's run."""


@dataclass(frozen=True)
class Reach:
    """What the servers of a subnet reach. With `out`, a route may lead to anything. `subnet` is empty for skylift's own
    network, which leads to S3 and no further where servers are private."""

    services: frozenset[str] = frozenset({"s3"})
    out: bool = False
    vpc: str = ""
    subnet: str = ""
    table: str = ""

    def lacks(self, job: Job, *, scheduled: bool = False) -> list[Need]:
        needs = [each for each in NEEDS if each.is_of(job, scheduled)]
        return [each for each in needs if not self.leads_to(each.service)]

    def leads_to(self, service: str) -> bool:
        return self.out or service in self.services

    def refusal(self, lacking: Sequence[Need], settings: Settings) -> UsageError:
        """The error that names what is missing, and how to have it."""
        where = self.subnet or "The network of --private servers"
        words = f"{where} has no way to {'; or to '.join(each.why for each in lacking)}."
        if not self.subnet:
            return UsageError(words, "Leave out --private, or name a --subnet that has a route to a NAT gateway.")
        make = f"aws ec2 create-vpc-endpoint --vpc-id {self.vpc} --service-name com.amazonaws.{settings.region}."
        ways = [f"--subnet {self.subnet} needs a route to a NAT gateway"]
        for each in lacking:
            if each.service == "s3":
                ways.append(f"{make}s3 --route-table-ids {self.table}")
            elif settings.endpoint_url is None:
                ways.append(f"{make}{each.service} --vpc-endpoint-type Interface --subnet-ids {self.subnet}")
        return UsageError(words, f"{', or: '.join(ways)}.")


EVERYTHING = Reach(out=True)


def find_reach(account: Account, note: Callable[[str], object]) -> Reach:
    """Raises UsageError for a subnet that is not there. Who may not look is told so, and goes on."""
    try:
        return _find(account)
    except NotPermitted as error:
        note(f"Whether the servers' subnet leads to all that they need could not be checked: {error.message}")
        return EVERYTHING


def _find(account: Account) -> Reach:
    api, access = account.api, account.settings.access
    subnet, own = access.subnet, frozenset[str]()
    if subnet is None:
        network = find_network(api) if access.private else None
        if network is None:
            # One of its own is made yet, with what a private server needs.
            return Reach() if access.private else EVERYTHING
        (_, subnet), *_ = network.subnets
        own = Reach().services
    found = describe_subnet(api, subnet)
    if found.get("OwnerId", account.number) != account.number:
        return EVERYTHING
    vpc, table = found["VpcId"], route_table_of(api, found["VpcId"], subnet)
    endpoints = api.call("ec2", "describe_vpc_endpoints", Filters=[{"Name": "vpc-id", "Values": [vpc]}])["VpcEndpoints"]
    services = {
        str(each["ServiceName"]).rpartition(".")[2]
        for each in endpoints
        # An interface that has no private names may have names in a zone.
        if str(each["State"]).lower() in ("pending", "available")
        and (each.get("VpcEndpointType") == "Interface" or table["RouteTableId"] in each.get("RouteTableIds", ()))
    }
    # A route to an endpoint that is none of a service's leads to an appliance.
    closed = ("local", *(["igw-"] if access.private else []))
    closed += tuple(each["VpcEndpointId"] for each in endpoints if each.get("VpcEndpointType") != "GatewayLoadBalancer")
    out = any(_leads_out(each, closed) for each in table["Routes"])
    return Reach(own | services, out, vpc, access.subnet or "", table["RouteTableId"])


def _leads_out(route: dict[str, Any], closed: tuple[str, ...]) -> bool:
    """`closed` is how gateways are called, from the beginning, that do not."""
    if route.get("State") == "blackhole" or "EgressOnlyInternetGatewayId" in route:
        return False
    return not str(route.get("GatewayId", "")).startswith(closed)
