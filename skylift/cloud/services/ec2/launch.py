"""RunInstances: everything is checked before the first row is written; the rows are the intent, in state `pending`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Literal

from skylift.catalogue import InstanceType
from skylift.cloud.domain.error import ServiceError
from skylift.cloud.domain.identity import Caller, InstanceProfile
from skylift.cloud.domain.instance import Image, Instance, KeyPair, MetadataOptions
from skylift.cloud.domain.launch_request import LaunchRequest, MetadataRequest
from skylift.cloud.domain.spot import SpotRequest
from skylift.cloud.domain.volume import BlockDevice, Volume
from skylift.cloud.services.api.client_token import remember, result_of, under_way
from skylift.cloud.services.api.ec2_operation import prepares
from skylift.cloud.services.api.facts import take_public_ip, take_uid_bases
from skylift.cloud.services.api.instance_type import instance_type
from skylift.cloud.services.api.operation import Handler, Nothing, Outdated, Params
from skylift.cloud.services.api.public_parameter import image_id_for
from skylift.cloud.services.api.refusal import combination, invalid, invalid_value, missing, one_of, refuse_other_values
from skylift.cloud.services.api.resource import new_id
from skylift.cloud.services.api.tag import Tags, check_metadata_keys, specified
from skylift.cloud.services.ebs.block_device import wanted_devices
from skylift.cloud.services.ebs.image_device import ROOT_DEVICE
from skylift.cloud.services.ec2 import keypair, launch_check
from skylift.cloud.services.ec2.image import usable_image
from skylift.cloud.services.ec2.instance import end
from skylift.cloud.services.ec2.instance_type import refuse_unless_offered
from skylift.cloud.services.ec2.instance_view import InstanceContext, reservation, view
from skylift.cloud.services.ec2.launch_market import Terms, available_count, with_zone
from skylift.cloud.services.ec2.launch_neutral import NEUTRAL
from skylift.cloud.services.ec2.launch_parameter import LAUNCH
from skylift.cloud.services.ec2.launch_place import LaunchInterface, LaunchPlace, place
from skylift.cloud.services.ec2.launch_request import launch_request, tagged
from skylift.cloud.services.ec2.launch_template_version import with_template
from skylift.cloud.services.ec2.metadata_defaults import default_options, refuse_tokenless
from skylift.cloud.services.ec2.placement_group import Room, refuse_without_room, room_for
from skylift.cloud.services.ec2.profile import wanted_profile
from skylift.cloud.services.ec2.spot_option import REQUEST, SpotOptions, market_wish
from skylift.cloud.services.ec2.spot_status import fulfilled, write_request
from skylift.cloud.services.ec2.tagging import MOST_AT_ONCE, OF_ROW
from skylift.cloud.services.ec2.tenancy import HostPlacement, host_placement
from skylift.cloud.services.ec2.user_data import user_data
from skylift.cloud.services.vpc.interface_attachment import refuse_beyond
from skylift.cloud.services.vpc.interface_making import interface_of
from skylift.cloud.services.vpc.private_address import AddressAllocator
from skylift.cloud.store.database import Tx
from skylift.cloud.store.mapping import to_column

if TYPE_CHECKING:
    from aws_shapes import ec2

TOKENS: tuple[Literal["required", "optional"], ...] = ("required", "optional")
SWITCH: tuple[Literal["enabled", "disabled"], ...] = ("enabled", "disabled")


def _run(tx: Tx, caller: Caller, params: ec2.RunInstancesRequest, request: LaunchRequest) -> ec2.Reservation:
    made_before = result_of(tx, "RunInstances", params)
    if made_before:
        return _answer(tx, caller, _repeated(tx, made_before))
    instances = launch(tx, caller, request)
    remember(tx, "RunInstances", params, instances[0].reservation_id)
    return _answer(tx, caller, instances)


def prepare(tx: Tx, caller: Caller, params: ec2.RunInstancesRequest) -> Handler | Iterator[Handler]:
    request = launch_request(params)
    if result_of(tx, "RunInstances", params):
        return partial(_run, request=request)
    refuse_other_values(params, NEUTRAL)
    plan = _launch(tx, caller, request).plan()
    # What these names mean by a later turn was not asked about.
    request = replace(request, within=(plan.where.subnet.id,), image=plan.image.id)
    if request.template:
        _, tags = with_template(tx, request)
        request = replace(request, template={**request.template, "Version": tags["aws:ec2launchtemplate:version"]})
    at_once = max(1, MOST_AT_ONCE // plan.weight)
    count = len(plan.addresses)
    return partial(_run, request=request) if count <= at_once else _InTurns(request, count, at_once).handlers()


def launch(tx: Tx, caller: Caller, request: LaunchRequest) -> list[Instance]:
    """The instances that a request asks for, at least one. Raises RunInstances' errors."""
    return _launch(tx, caller, request).make(new_id("r"))


def how_many(tx: Tx, caller: Caller, request: LaunchRequest) -> int:
    """How many instances a request would have now. Raises RunInstances' errors."""
    return len(_launch(tx, caller, request).plan().addresses)


def launch_weighed(tx: Tx, caller: Caller, request: LaunchRequest) -> tuple[Instance, int]:
    """The one instance that a request asks for, and what it weighs of a transaction's most."""
    whole = _launch(tx, caller, request)
    plan = whole.plan()
    (instance,) = whole.make(new_id("r"), plan)
    return instance, plan.weight


def _launch(tx: Tx, caller: Caller, request: LaunchRequest) -> _Launch:
    merged, template_tags = with_template(tx, request)
    whole = merged.with_type()
    return _Launch(tx, caller, whole, template_tags=template_tags, wish=market_wish(tx, whole))


class _InTurns:
    """A launch of more instances than one transaction makes while others wait. Where others have taken meanwhile what
    the rest needs, it has come to fewer; if those are less than the least, they end again."""

    def __init__(self, request: LaunchRequest, count: int, at_once: int) -> None:
        self._request = request
        self._left = count
        self._at_once = at_once
        self._reservation_id = new_id("r")
        self._shown: list[ec2.Instance] = []
        self._turns: list[list[Instance]] = []
        self._error: ServiceError | None = None

    def handlers(self) -> Iterator[Handler]:
        with under_way(self._reservation_id):
            while self._left and self._error is None:
                yield self._make
            if len(self._shown) < self._request.least:
                yield from (partial(self._end, turn=turn) for turn in self._turns)
                yield self._refuse

    def _make(self, tx: Tx, caller: Caller, params: ec2.RunInstancesRequest) -> ec2.Reservation:
        count = min(self._left, self._at_once)
        if not self._turns and result_of(tx, "RunInstances", params):
            raise Outdated
        try:
            with tx.attempt():
                some = _launch(tx, caller, replace(self._request, least=count, most=count))
                made = some.make(self._reservation_id, first=len(self._shown))
        except ServiceError as error:
            self._error = error
        else:
            self._left -= count
            if not self._turns:
                remember(tx, "RunInstances", params, self._reservation_id)
            self._turns.append(made)
            self._shown += _answer(tx, caller, made)["Instances"]
        return reservation(self._shown, self._reservation_id, caller.account)

    def _end(self, tx: Tx, _caller: Caller, _params: Params, turn: list[Instance]) -> Nothing:
        for made in turn:
            end(tx, made.id, forced=True)
        return {}

    def _refuse(self, _tx: Tx, _caller: Caller, _params: Params) -> Nothing:
        assert self._error is not None, "it is what made them too few"
        raise self._error


def refuse_launch(tx: Tx, caller: Caller, request: SpotRequest, *, on_market: bool = True) -> None:
    """Raises what a launch for this request would; without `on_market` whatever price and room are now."""
    _Launch(tx, caller, request.launch, spot=request, template_tags=request.instance_tags).plan(on_market=on_market)


def launch_for(tx: Tx, caller: Caller, request: SpotRequest) -> Instance:
    """The instance that a request asks for."""
    whole = _Launch(tx, caller, request.launch, spot=request, template_tags=request.instance_tags)
    (instance,) = whole.make(new_id("r"))
    return instance


@dataclass(frozen=True)
class _Plan:
    """A launch request, checked. `addresses` has those of each interface that is made, for each
    instance: as many instances as may be, at least as must be."""

    image: Image
    kind: InstanceType
    where: LaunchPlace
    devices: list[BlockDevice]
    key: KeyPair | None
    profile: InstanceProfile | None
    user_data: str | None
    shutdown_behavior: Literal["stop", "terminate"]
    metadata: MetadataOptions
    tags: dict[str, Tags]
    room: Room | None
    hosts: HostPlacement
    addresses: list[list[tuple[str, ...]]]

    @property
    def weight(self) -> int:
        """Of one instance, with the rows of its interfaces, its volumes and what they cost."""
        rows = 2 * (len(self.where.nics) + len(self.devices))
        return rows * (OF_ROW + len(self.user_data or "") + len(to_column(self.tags)))


class _Launch:
    """One launch; what its template has is in the request already.

    `spot` is the spot request that this launch is for. `wish` makes a spot request for each instance.
    """

    def __init__(
        self,
        tx: Tx,
        caller: Caller,
        request: LaunchRequest,
        *,
        template_tags: Tags,
        spot: SpotRequest | None = None,
        wish: SpotOptions | None = None,
    ) -> None:
        self._tx = tx
        self._caller = caller
        self._request = request
        self._template_tags = template_tags
        self._spot = spot
        self._wish = wish
        on_spot = wish or spot
        self._terms = Terms("spot", on_spot.max_price) if on_spot else Terms()
        self._uid_bases = take_uid_bases(tx)

    def make(self, reservation_id: str, plan: _Plan | None = None, first: int = 0) -> list[Instance]:
        plan = plan or self.plan()
        numbered = enumerate(plan.addresses, first)
        instances = [self._make(plan, reservation_id, given, index) for index, given in numbered]
        if plan.image.owner == "self":
            self._tx.save(replace(plan.image, last_launched=self._tx.now))
        return instances

    def plan(self, *, on_market: bool = True) -> _Plan:
        """Checks the launch. Nothing is written. Raises RunInstances' errors."""
        image = self._image()
        kind = self._type(image)
        request = self._request
        placed = with_zone(self._tx, request, self._terms) if on_market else request
        where = place(self._tx, self._caller, placed)
        refuse_unless_offered(kind, where.subnet.zone)
        devices = wanted_devices(self._tx, image, request.devices or ())
        key = self._key()
        profile = wanted_profile(self._tx, request.profile)
        encoded = user_data(request.user_data)
        behavior = self._shutdown_behavior()
        metadata = _metadata(self._tx, self._caller.account, request)
        tags = specified(
            tagged(request), *("instance", "volume", "network-interface"), *([REQUEST] if self._wish else [])
        )
        if metadata.tags == "enabled":
            check_metadata_keys(tags.get("instance", {}))
        room = room_for(self._tx, request.place, kind, where.subnet.zone)
        spot = self._terms.market == "spot"
        hosts = host_placement(self._tx, request.place, kind, where.subnet, spot=spot)
        addresses = self._addresses(kind, where, room, hosts, on_market=on_market)
        return _Plan(
            image, kind, where, devices, key, profile, encoded, behavior, metadata, tags, room, hosts, addresses
        )

    def _image(self) -> Image:
        if not self._request.image:
            raise missing("ImageId")
        return usable_image(self._tx, image_id_for(self._tx, self._caller, self._request.image))

    def _type(self, image: Image) -> InstanceType:
        if not self._request.type:
            raise missing("InstanceType")
        kind = instance_type(self._request.type)
        refuse_other_architecture(kind, image)
        return kind

    def _shutdown_behavior(self) -> Literal["stop", "terminate"]:
        """One-time spot instances cannot be stopped, not by their own shutdown either."""
        request = self._wish or self._spot
        usual = "terminate" if request and request.type == "one-time" else "stop"
        asked = self._request.shutdown_behavior
        return shutdown_behavior(usual if asked is None else asked)

    def _key(self) -> KeyPair | None:
        name = self._request.key_name
        return keypair.by_name(self._tx, name) if name else None

    def _addresses(
        self, kind: InstanceType, where: LaunchPlace, room: Room | None, hosts: HostPlacement, *, on_market: bool
    ) -> list[list[tuple[str, ...]]]:
        least, most = self._request.least, self._request.most
        if least < 1:
            raise invalid_value(least, "minCount", "It has to be at least 1.")
        if most < least:
            raise invalid_value(most, "maxCount", f"It has to be at least minCount, {least}.")
        if most > 1 and where.for_one:
            raise combination(
                "A network interface or a private IP address can be given to one instance only; maxCount is more."
            )
        if room is not None and room.most is not None:
            refuse_without_room(room, least)
            most = min(most, room.most)
        most = hosts.at_most(least, most)
        # An instance on a dedicated host of the account takes no room of the zone.
        if on_market and hosts.tenancy != "host":
            most = available_count(self._tx, kind.name, where.subnet.zone, self._terms, least, most)
        for nic in where.nics:
            refuse_beyond(kind, len(where.nics), len(nic.existing.addresses if nic.existing else nic.addresses))
        allocator = AddressAllocator(
            self._tx, *((nic.subnet, nic.addresses) for nic in where.nics if nic.existing is None)
        )
        found: list[list[tuple[str, ...]]] = []
        while len(found) < most and (given := allocator.allocate()) is not None:
            found.append(given)
        if len(found) < least:
            raise ServiceError(
                "InsufficientFreeAddressesInSubnet",
                f"There are not enough free addresses in subnet '{where.subnet.id}' "
                "to satisfy the requested number of instances.",
            )
        return found

    def _make(self, plan: _Plan, reservation_id: str, given: list[tuple[str, ...]], index: int) -> Instance:
        tags, room, subnet = plan.tags, plan.room, plan.where.subnet
        # What the request is launched with later is what was asked about, whatever a parameter names by then.
        asked = replace(self._request, image=plan.image.id)
        request = self._spot or (
            self._wish.request(self._tx, asked, self._template_tags, tags.get(REQUEST, {})) if self._wish else None
        )
        instance = Instance(
            id=new_id("i"),
            reservation_id=reservation_id,
            image_id=plan.image.id,
            type=plan.kind.name,
            zone=subnet.zone,
            vpc_id=subnet.vpc_id,
            subnet_id=subnet.id,
            launched=self._tx.now,
            key_name=plan.key.name if plan.key else None,
            public_key=plan.key.public_key if plan.key else None,
            user_data=plan.user_data,
            profile_arn=plan.profile.arn if plan.profile else None,
            profile_id=plan.profile.id if plan.profile else None,
            client_token=self._request.client_token,
            shutdown_behavior=plan.shutdown_behavior,
            termination_protected=self._request.termination_protected or False,
            stop_protected=self._request.stop_protected or False,
            metadata=plan.metadata,
            detailed_monitoring=self._request.detailed_monitoring or False,
            placement_group=room.group.name if room else "",
            placement_group_id=room.group.id if room else None,
            partition=next(room.partitions) if room else None,
            tenancy=plan.hosts.tenancy,
            affinity=plan.hosts.affinity,
            host_id=next(plan.hosts.hosts),
            spot_request_id=request.id if request else None,
            launch_index=index,
            uid_base=next(self._uid_bases),
            association_id=new_id("iip-assoc") if plan.profile else None,
            tags={**tags.get("instance", {}), **self._template_tags},
        )
        self._tx.add(instance)
        if request is not None:
            write_request(self._tx, fulfilled(self._tx, request, instance))
        left = iter(given)
        for nic in plan.where.nics:
            self._attach(instance, nic, next(left) if nic.existing is None else (), tags.get("network-interface", {}))
        for device in plan.devices:
            self._tx.add(self._volume(device, instance, tags.get("volume", {})))
        return instance

    def _volume(self, device: BlockDevice, instance: Instance, tags: Tags) -> Volume:
        """The root volume is the instance's own disk; the others have to be made before it boots."""
        root = device.device == ROOT_DEVICE
        return Volume(
            id=new_id("vol"),
            size_gib=device.size_gib,
            zone=instance.zone,
            created=self._tx.now,
            type=device.type,
            iops=device.iops,
            throughput=device.throughput,
            snapshot_id=device.snapshot_id,
            state="in-use" if root else "creating",
            root=root,
            instance_id=instance.id,
            device=device.device,
            attachment="attached" if root else "attaching",
            attached=self._tx.now,
            delete_on_termination=device.delete_on_termination,
            tags=tags,
        )

    def _attach(self, instance: Instance, nic: LaunchInterface, addresses: tuple[str, ...], tags: Tags) -> None:
        made = nic.existing or interface_of(
            self._tx, nic.subnet, nic.group_ids, addresses, description=nic.description, tags=tags
        )
        interface = replace(
            made,
            public_ip=take_public_ip(self._tx) if nic.public_ip else made.public_ip,
            wants_public_ip=nic.public_ip,
            instance_id=instance.id,
            index=nic.index,
            attachment_id=new_id("eni-attach"),
            attachment="attaching",
            attached=self._tx.now,
            delete_on_termination=nic.delete_on_termination,
        )
        if nic.existing is None:
            self._tx.add(interface)
        else:
            self._tx.save(interface)


def _repeated(tx: Tx, reservation_id: str) -> list[Instance]:
    instances = tx.find(Instance, reservation_id=reservation_id)
    if all(instance.state == "terminated" for instance in instances):
        raise ServiceError(
            "IdempotentInstanceTerminated",
            "The client token you have provided is associated with a terminated instance. "
            "Please use a different client token.",
        )
    return instances


def _answer(tx: Tx, caller: Caller, instances: list[Instance]) -> ec2.Reservation:
    context = InstanceContext.of(tx, caller, instances)
    shown = [view(instance, context) for instance in instances]
    return reservation(shown, instances[0].reservation_id, caller.account)


def refuse_settings(tx: Tx, caller: Caller, image: Image, request: LaunchRequest) -> None:
    """Raises what a launch would for its volumes and metadata options, wherever it goes to."""
    wanted_devices(tx, image, request.devices or ())
    _metadata(tx, caller.account, request)


def _metadata(tx: Tx, account_id: str, request: LaunchRequest) -> MetadataOptions:
    options = metadata_options(default_options(tx, account_id), request.metadata or MetadataRequest())
    refuse_tokenless(tx, account_id, options)
    return options


def refuse_other_architecture(kind: InstanceType, image: Image) -> None:
    if kind.architecture != image.architecture:
        raise invalid(
            f"The architecture '{kind.architecture}' of the specified instance type does not match the architecture "
            f"'{image.architecture}' of the specified AMI. Specify an instance type and an AMI that have matching "
            "architectures, and try again. You can use 'describe-instance-types' or 'describe-images' to discover "
            "the architecture of the instance type or AMI."
        )


def metadata_options(before: MetadataOptions, asked: MetadataRequest) -> MetadataOptions:
    """The options with those changed that a request names."""
    hops = before.hop_limit if asked.hop_limit is None else asked.hop_limit
    if not 1 <= hops <= 64:
        raise invalid_value(hops, "HttpPutResponseHopLimit", "It has to be between 1 and 64.")
    return MetadataOptions(
        tokens=before.tokens if asked.tokens is None else one_of(asked.tokens, "HttpTokens", TOKENS),
        endpoint=before.endpoint if asked.endpoint is None else one_of(asked.endpoint, "HttpEndpoint", SWITCH),
        hop_limit=hops,
        tags=before.tags if asked.tags is None else one_of(asked.tags, "InstanceMetadataTags", SWITCH),
    )


def shutdown_behavior(value: str) -> Literal["stop", "terminate"]:
    return one_of(value, "instanceInitiatedShutdownBehavior", ("stop", "terminate"))


OPERATIONS = (prepares("RunInstances", prepare, LAUNCH, launch_check.checks),)
