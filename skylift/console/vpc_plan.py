"""A VPC and what belongs to it, as a map and as calls, before it is made. It knows neither the port nor the screen."""

from __future__ import annotations

import ipaddress
import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from skylift.client.errors import RunError, SkyliftError
from skylift.console.call import Call
from skylift.console.vpc_map import VpcAnswers, VpcMap, build_map

NAT_NONE, NAT_ONE, NAT_EACH = "", "one", "each"
LONGEST_WAIT = 600.0
"""Seconds in which a NAT gateway must be there. On AWS it takes a minute or two."""
_MARK = re.compile(r"%([a-z0-9-]+)%")


@dataclass(frozen=True)
class ApiStep:
    """One call. An id that an earlier step has given stands in it as `%vpc%`; `gives` is the name of its own, which is
    found in the answer along `answer`. `undo` takes back what it made. `awaits` is a NAT gateway that must be there."""

    title: str
    call: Call
    gives: str = ""
    answer: tuple[str, ...] = ()
    undo: Call | None = None
    awaits: str = ""

    def known(self, ids: Mapping[str, str]) -> Call:
        return _fill(self.call, ids)

    def undoing(self, ids: Mapping[str, str]) -> Call | None:
        return None if self.undo is None else _fill(self.undo, ids)

    def line(self) -> str:
        """For a shell, where the lines of the steps before it have set the variables."""
        command = _MARK.sub(lambda found: f'"${_variable(found[1])}"', self.call.command)
        if self.awaits:
            waiting = f'aws ec2 wait nat-gateway-available --nat-gateway-ids "${_variable(self.awaits)}"'
            return f"{waiting}\n{command}"
        if not self.gives:
            return command
        return f"{_variable(self.gives)}=$({command} --query {'.'.join(self.answer)} --output text)"

    def found(self, answer: Any) -> str:
        for key in self.answer:
            answer = answer[key]
        return str(answer)


def creation(title: str, call: Call, gives: str, *answer: str, undo: str = "") -> ApiStep:
    """A step that makes something. The operation that takes it back knows it by the answer's own name for it."""
    undo = undo or call.operation.replace("create_", "delete_", 1)
    return ApiStep(title, call, gives, answer, _ec2(undo, **{answer[-1]: f"%{gives}%"}))


@dataclass(frozen=True)
class VpcChoice:
    """What was chosen, as it was typed. `zones` are the names of the zones that are used."""

    name: str
    cidr: str
    zones: tuple[str, ...]
    public: bool
    private: int
    nat: str
    s3: bool

    def missing(self) -> list[str]:
        """What has to be mended before it can be made, in words."""
        found = []
        if "%" in self.name:
            found.append("The name has no % in it.")
        try:
            network = ipaddress.IPv4Network(self.cidr)
        except ValueError:
            found.append("The range is like 10.0.0.0/16.")
        else:
            if not 16 <= network.prefixlen <= 24:
                found.append("The range has from 256 to 65536 addresses: /24 to /16.")
        if not self.zones:
            found.append("Choose at least one zone.")
        if not self.public and not self.private:
            found.append("Choose public or private subnets.")
        if self.nat and not (self.public and self.private):
            found.append("A NAT gateway stands in a public subnet, and is for private ones.")
        return found

    def preview(self) -> VpcMap:
        subnets, tables = self._subnets(), self._tables()
        return build_map(
            VpcAnswers(
                vpc={"VpcId": "vpc", "CidrBlock": self.cidr, "Tags": _tag(self._named("vpc"))},
                subnets=[
                    {
                        "SubnetId": each.key,
                        "AvailabilityZone": each.zone,
                        "CidrBlock": each.cidr,
                        "Tags": _tag(each.name),
                    }
                    for each in subnets
                ],
                tables=[
                    {
                        "RouteTableId": key,
                        "Tags": _tag(self._named(key)),
                        "Associations": [{"SubnetId": each.key} for each in subnets if each.table == key],
                        "Routes": [
                            {"GatewayId": "local"},
                            *routes,
                            *([{"GatewayId": "s3"}] if self._reaches_s3(key) else []),
                        ],
                    }
                    for key, routes in tables.items()
                ],
                gateways=[{"InternetGatewayId": "igw", "Tags": _tag(self._named("igw"))}] if self.public else [],
                nats=[
                    {"NatGatewayId": each, "State": f"in {zone}", "Tags": _tag(self._named(each))}
                    for each, zone in self._nats().items()
                ],
                endpoints=[{"VpcEndpointId": "s3", "ServiceName": "com.amazonaws.s3", "Tags": _tag(self._named("s3"))}]
                if self.s3
                else [],
                servers=None,
            )
        )

    def steps(self, region: str) -> list[ApiStep]:
        """In the order in which they can be made. What costs by the hour is last."""
        subnets, tables, nats = self._subnets(), self._tables(), self._nats()
        steps = [
            creation("VPC", _ec2("create_vpc", CidrBlock=self.cidr, **self._tags("vpc", "vpc")), "vpc", "Vpc", "VpcId"),
            ApiStep("DNS names", _ec2("modify_vpc_attribute", VpcId="%vpc%", EnableDnsHostnames={"Value": True})),
            *(
                creation(
                    f"Subnet {each.cidr} in {each.zone}",
                    _ec2(
                        "create_subnet",
                        VpcId="%vpc%",
                        CidrBlock=each.cidr,
                        AvailabilityZone=each.zone,
                        **self._tags("subnet", each.key),
                    ),
                    each.key,
                    "Subnet",
                    "SubnetId",
                )
                for each in subnets
            ),
        ]
        if self.public:
            steps += internet_gateway_steps("%vpc%", self._named("igw") if self.name else "")
        for key in tables:
            call = _ec2("create_route_table", VpcId="%vpc%", **self._tags("route-table", key))
            steps.append(creation(f"Route table {self._named(key)}", call, key, "RouteTable", "RouteTableId"))
            for each in subnets:
                if each.table == key:
                    call = _ec2("associate_route_table", RouteTableId=f"%{key}%", SubnetId=f"%{each.key}%")
                    title, link = f"Its subnet {each.name}", f"{each.key}-link"
                    steps.append(creation(title, call, link, "AssociationId", undo="disassociate_route_table"))
        if self.public:
            steps.append(self._route("public", GatewayId="%igw%"))
        if self.s3:
            steps.append(self._endpoint(region, [key for key in tables if self._reaches_s3(key)]))
        for key, zone in nats.items():
            steps += self._nat(key, zone)
        steps += [
            self._route(key, route["NatGatewayId"], NatGatewayId=f"%{route['NatGatewayId']}%")
            for key, routes in tables.items()
            for route in routes
            if "NatGatewayId" in route
        ]
        return steps

    def _endpoint(self, region: str, tables: Sequence[str]) -> ApiStep:
        return ApiStep(
            "Endpoint of S3",
            _ec2(
                "create_vpc_endpoint",
                VpcId="%vpc%",
                ServiceName=f"com.amazonaws.{region}.s3",
                RouteTableIds=[f"%{key}%" for key in tables],
                **self._tags("vpc-endpoint", "s3"),
            ),
            "s3",
            ("VpcEndpoint", "VpcEndpointId"),
            _ec2("delete_vpc_endpoints", VpcEndpointIds=["%s3%"]),
        )

    def _nat(self, key: str, zone: str) -> list[ApiStep]:
        address = f"{key}-address"
        public = next(each.key for each in self._subnets() if each.zone == zone and each.table == "public")
        allocated = _ec2("allocate_address", Domain="vpc", **self._tags("elastic-ip", key))
        place = {"SubnetId": f"%{public}%", "AllocationId": f"%{address}%"}
        made = _ec2("create_nat_gateway", **place, **self._tags("natgateway", key))
        title = f"Public address of {self._named(key)}"
        return [
            creation(title, allocated, address, "AllocationId", undo="release_address"),
            creation(f"NAT gateway in {zone}", made, key, "NatGateway", "NatGatewayId"),
        ]

    def _route(self, table: str, awaits: str = "", **target: str) -> ApiStep:
        way = {"RouteTableId": f"%{table}%", "DestinationCidrBlock": "0.0.0.0/0"}
        undo = _ec2("delete_route", **way)
        return ApiStep(
            f"The way out of {self._named(table)}", _ec2("create_route", **way, **target), undo=undo, awaits=awaits
        )

    def _subnets(self) -> list[PlannedSubnet]:
        """Public ones from the beginning of the range, private ones from its middle, a sixteenth of it each."""
        ranges = list(ipaddress.IPv4Network(self.cidr).subnets(4))
        found = []
        for number, zone in enumerate(self.zones):
            letter = zone[-1]
            if self.public:
                found.append(self._subnet(f"public-{letter}", zone, ranges[number], "public"))
            for row in range(self.private):
                key = f"private-{letter}" + (f"-{row + 1}" if self.private > 1 else "")
                place = ranges[8 + row * len(self.zones) + number]
                found.append(self._subnet(key, zone, place, f"private-{letter}-routes" if self._apart else "private"))
        return found

    def _subnet(self, key: str, zone: str, cidr: ipaddress.IPv4Network, table: str) -> PlannedSubnet:
        return PlannedSubnet(key, zone, str(cidr), self._named(key), table)

    @property
    def _apart(self) -> bool:
        """Whether each zone has a route table of its own, since each has a NAT gateway of its own."""
        return self.nat == NAT_EACH

    def _tables(self) -> dict[str, list[dict[str, str]]]:
        """Each route table with where its default route leads."""
        found: dict[str, list[dict[str, str]]] = {"public": [{"GatewayId": "igw"}]} if self.public else {}
        if not self.private:
            return found
        if self._apart:
            return found | {f"private-{each[-1]}-routes": [{"NatGatewayId": f"nat-{each[-1]}"}] for each in self.zones}
        return found | {"private": [{"NatGatewayId": f"nat-{self.zones[0][-1]}"}] if self.nat else []}

    def _nats(self) -> dict[str, str]:
        zones = self.zones if self._apart else self.zones[:1] if self.nat else ()
        return {f"nat-{each[-1]}": each for each in zones}

    def _reaches_s3(self, table: str) -> bool:
        return self.s3 and (table != "public" or not self.private)

    def _named(self, what: str) -> str:
        return f"{self.name}-{what}" if self.name else what

    def _tags(self, kind: str, key: str) -> dict[str, Any]:
        return tagged(kind, self._named(key) if self.name else "")


@dataclass(frozen=True)
class PlannedSubnet:
    key: str
    zone: str
    cidr: str
    name: str
    table: str


class Making:
    """A plan being made, a step after the other. `made` has the ids of what is there."""

    def __init__(self, steps: Sequence[ApiStep], clock: Callable[[], float] = time.monotonic) -> None:
        self.steps = tuple(steps)
        self.made: dict[str, str] = {}
        self.done = 0
        self._clock = clock
        self._deadline: float | None = None

    @property
    def command(self) -> str:
        """For a shell: a line for each step."""
        return "\n".join(step.line() for step in self.steps)

    @property
    def is_over(self) -> bool:
        return self.done == len(self.steps)

    def make_next(self, perform: Callable[[Call], Any]) -> bool:
        """In a thread. False where what it awaits is not there yet. What has failed is made again by the next call.
        Raises SkyliftError."""
        step = self.steps[self.done]
        if step.awaits and not _is_available(self.made[step.awaits], perform):
            self._wait_for(self.made[step.awaits])
            return False
        self._deadline = None
        answer = perform(step.known(self.made))
        if step.gives:
            self.made[step.gives] = step.found(answer)
        self.done += 1
        return True

    def _wait_for(self, nat: str) -> None:
        """The next try has the whole time again."""
        if self._deadline is None:
            self._deadline = self._clock() + LONGEST_WAIT
        elif self._clock() > self._deadline:
            self._deadline = None
            raise RunError(f"{nat} is still pending after {LONGEST_WAIT / 60:g} minutes.", "Try again to wait longer.")

    def make_all(self, perform: Callable[[Call], Any]) -> None:
        """In a thread: all of it, or nothing. Raises SkyliftError: why it failed, with what stays if undoing failed."""
        try:
            while not self.is_over:
                self.make_next(perform)
        except SkyliftError as reason:
            try:
                while self.done:
                    self.undo_last(perform)
            except SkyliftError as error:
                left = ", ".join(f"{step.title} {self.made[step.gives]}" for step in self._left())
                reason.advice = f"{reason.advice} Not all could be removed again. What stays is {left}: {error}".strip()
            raise

    def _left(self) -> list[ApiStep]:
        return [step for step in self.steps[: self.done] if step.undo is not None and step.gives]

    def undo_last(self, perform: Callable[[Call], Any]) -> None:
        """In a thread. Raises SkyliftError; the step is there still, then."""
        call = self.steps[self.done - 1].undoing(self.made)
        if call is not None:
            perform(call)
        self.done -= 1


def _fill(call: Call, ids: Mapping[str, str]) -> Call:
    def fill(value: Any) -> Any:
        if isinstance(value, list):
            return [fill(each) for each in value]
        found = _MARK.fullmatch(value) if isinstance(value, str) else None
        return ids[found[1]] if found else value

    return Call(call.service, call.operation, {name: fill(value) for name, value in call.params.items()})


def _is_available(nat: str, perform: Callable[[Call], Any]) -> bool:
    (found,) = perform(_ec2("describe_nat_gateways", NatGatewayIds=[nat]))["NatGateways"]
    if found["State"] not in ("pending", "available"):
        raise RunError(f"{nat} is {found['State']}: {found.get('FailureMessage', 'EC2 does not say why')}")
    return bool(found["State"] == "available")


def _ec2(operation: str, **params: Any) -> Call:
    return Call("ec2", operation, params)


def internet_gateway_steps(vpc: str, name: str) -> list[ApiStep]:
    """Both, or neither."""
    made = _ec2("create_internet_gateway", **tagged("internet-gateway", name))
    both = {"InternetGatewayId": "%igw%", "VpcId": vpc}
    attached, detached = _ec2("attach_internet_gateway", **both), _ec2("detach_internet_gateway", **both)
    return [
        creation("Internet gateway", made, "igw", "InternetGateway", "InternetGatewayId"),
        ApiStep("The gateway joins the VPC", attached, undo=detached),
    ]


def tagged(kind: str, name: str) -> dict[str, Any]:
    """Parameters of what is about to be made; none without a name."""
    specification = {"ResourceType": kind, "Tags": _tag(name.strip())}
    return {"TagSpecifications": [specification]} if name.strip() else {}


def _tag(name: str) -> list[dict[str, str]]:
    return [{"Key": "Name", "Value": name}]


def _variable(key: str) -> str:
    return key.replace("-", "_")
