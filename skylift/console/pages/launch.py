"""Launch, as the chapter walks it: each choice with its price, what is missing, and the command that does the same."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from skylift.client.errors import SkyliftError, UsageError
from skylift.console.call import Call
from skylift.console.cloud_view import CloudView
from skylift.console.group_wish import other_vpc
from skylift.console.market import HOURS
from skylift.console.pages.edit_tags import TagFields
from skylift.console.pages.key_pairs import create_key_pair
from skylift.console.pages.new_group import create_security_group
from skylift.console.pages.type_picker import TypePicker, spell_price, spell_spot
from skylift.console.port import Choices, PricedType
from skylift.console.rows import RuleRow
from skylift.console.tags import read_tags, specification
from skylift.console.typed import whole_number
from skylift.console.widgets.element import box, button, copyable, enable, facts, focus, go_to, tag
from skylift.console.widgets.field import Field, Select, suggest
from skylift.console.widgets.frame import head
from skylift.console.widgets.tabs import in_thread
from skylift.console.widgets.trouble import panel, say_trouble

_DEFAULT = "t3.micro"
_DISK_TYPES = ("gp3", "gp2", "st1", "sc1", "standard")
"""Those that need a size alone."""
_LARGEST = 16384
_ENDS = {"": "Deleted with the instance", "stays": "Stays, and costs"}
_DEVICES = tuple(f"/dev/sd{letter}" for letter in "fghijklmnop")
"""What AWS recommends for disks beside the root's."""
_LETTER = re.compile(r"/dev/(?:sd|xvd)([a-z])")


@dataclass(frozen=True)
class Disk:
    """One beside the root disk, as it was typed."""

    size: str
    kind: str
    stays: bool

    def mapping(self, device: str) -> dict[str, Any]:
        ebs = {"VolumeSize": int(self.size), "VolumeType": self.kind, "DeleteOnTermination": not self.stays}
        return {"DeviceName": device, "Ebs": ebs}


@dataclass(frozen=True)
class Wish:
    """What was chosen, as it was typed."""

    name: str
    image: str
    kind: str
    key: str
    subnet: str
    public: str
    group: str
    size: str
    root_device: str
    role: str
    market: str
    user_data: str
    number: str
    tags: tuple[tuple[str, str], ...] = ()
    root_kind: str = ""
    disks: tuple[Disk, ...] = ()
    taken: frozenset[str] = frozenset()
    """The devices for which the image has a disk. Another disk of that name would be the image's, changed."""

    def missing(self, kinds: Mapping[str, PricedType], processor: str = "") -> list[str]:
        """What has to be mended before it can be launched, in words. `processor` is what the image is built for."""
        found = []
        if not self.image:
            found.append("Choose an image.")
        if self.kind not in kinds:
            found.append(f"There is no type {self.kind!r}." if self.kind else "Choose a type.")
        elif processor and kinds[self.kind].processor != processor:
            found.append(f"The image is for {processor}, and {self.kind} has {kinds[self.kind].processor}.")
        if whole_number(self.number, 1, 100) is None:
            found.append("The number is from 1 to 100.")
        sizes = [*([self.size] if self.size else []), *(each.size for each in self.disks)]
        if any(whole_number(each, 1, _LARGEST) is None for each in sizes):
            found.append(f"The size of a disk is in GiB, from 1 to {_LARGEST}.")
        if len(self.disks) > (room := len(self._free_devices())):
            found.append(f"There is room for {room} disks beside those of the image.")
        try:
            read_tags(self._all_tags())
        except UsageError as error:
            found.append(f"{error.message} {error.advice}".strip())
        return found

    def _all_tags(self) -> list[tuple[str, str]]:
        return [*([("Name", self.name)] if self.name else []), *self.tags]

    def _free_devices(self) -> list[str]:
        """A server may call the same disk sdf and xvdf."""
        letters = {found[1] for each in self.taken if (found := _LETTER.match(each))}
        return [each for each in _DEVICES if each[-1] not in letters]

    def _mappings(self) -> list[dict[str, Any]]:
        root: dict[str, Any] = {"VolumeSize": int(self.size)} if self.size else {}
        root |= {"VolumeType": self.root_kind} if self.root_kind else {}
        return [
            *([{"DeviceName": self.root_device, "Ebs": {**root, "DeleteOnTermination": True}}] if root else []),
            *(each.mapping(device) for each, device in zip(self.disks, self._free_devices(), strict=False)),
        ]

    def call(self) -> Call:
        params: dict[str, Any] = {"ImageId": self.image, "InstanceType": self.kind}
        params |= {"MinCount": int(self.number), "MaxCount": int(self.number)}
        if self.key:
            params["KeyName"] = self.key
        if self.public:
            interface: dict[str, Any] = {"DeviceIndex": 0, "AssociatePublicIpAddress": self.public == "yes"}
            interface |= {"SubnetId": self.subnet} if self.subnet else {}
            interface |= {"Groups": [self.group]} if self.group else {}
            params["NetworkInterfaces"] = [interface]
        else:
            params |= {"SubnetId": self.subnet} if self.subnet else {}
            params |= {"SecurityGroupIds": [self.group]} if self.group else {}
        if mappings := self._mappings():
            params["BlockDeviceMappings"] = mappings
        if self.role:
            params["IamInstanceProfile"] = {"Name": self.role}
        if self.market == "spot":
            params["InstanceMarketOptions"] = {"MarketType": "spot"}
        if self.user_data:
            params["UserData"] = self.user_data
        tags = self._all_tags()
        # Its disks have them, too: what is left of it later says what it was of.
        if specifications := [*specification("instance", tags), *specification("volume", tags)]:
            params["TagSpecifications"] = specifications
        return Call("ec2", "run_instances", params)


class LaunchPage:
    def __init__(self, view: CloudView, kind: str = "") -> None:
        """With the type that it begins with. What is no type is not taken."""
        self._view, self._first = view, kind

    async def show(self) -> None:
        with panel():
            waiting = tag("p", "Looking …", "waiting")
            self._choices = await in_thread(self._view.port.choices)
            self._vpcs = dict(self._choices.vpcs)
            waiting.delete()
            self._build(self._choices)
            self._changed()

    def _build(self, choices: Choices) -> None:
        head("Launch an instance")
        with box("launch"):
            with box("form"):
                self._name = Field("Name", self._changed, placeholder="web-1")
                self._tags = TagFields(self._changed)
                self._image = Select("Image", dict(choices.images), self._changed)
                with box("bar"):
                    first = self._first if self._first in choices.kinds else _DEFAULT
                    self._kind = Field("Type", self._changed, value=first, spellcheck="false", list="types")
                    button("Choose by need", lambda: TypePicker(choices.kinds, self._processor(), self._take), "quiet")
                # All of them would be most of the page.
                suggest("types", {each.name: each.words for each in choices.kinds.values() if each.burstable})
                with box("bar"):
                    self._key = Select("Key pair", {"": "None", **dict.fromkeys(choices.keys)}, self._changed)
                    button("New key pair", lambda: create_key_pair(self._view, self._take_key), "quiet")
                self._subnet = Select("Subnet", {"": "Any of the default VPC", **choices.subnets}, self._changed)
                public = {"": "As the subnet says", "yes": "Yes", "no": "No"}
                self._public = Select("Public IPv4 address", public, self._changed)
                with box("bar"):
                    groups = {"": "The VPC's default", **choices.groups}
                    self._group = Select("Security group", groups, self._group_chosen)
                    button("New security group", self._new_group, "quiet")
                self._rules = box(role="status")
                with box("bar"):
                    self._size = Field(
                        "Root disk in GiB", self._changed, placeholder="as the image has it", inputmode="numeric"
                    )
                    kinds = {"": "As the image has it", **dict.fromkeys(_DISK_TYPES)}
                    self._root_kind = Select("Type of the root disk", kinds, self._changed)
                self._disks = _DiskFields(self._changed)
                self._role = Select("Role", {"": "None", **dict.fromkeys(choices.roles)}, self._changed)
                markets = {"": "On demand", "spot": "Spot: cheaper, may be interrupted"}
                self._market = Select("Purchase", markets, self._changed)
                self._number = Field("Number", self._changed, value="1", inputmode="numeric")
                self._user_data = Field("User data", self._changed, name="textarea", rows="5", spellcheck="false")
            with box("summary"):
                tag("h2", "Summary")
                self._summary = box()
                self._launch = button("Launch", self._go, "primary")
                self._trouble = box()

    def _wish(self) -> Wish:
        return Wish(
            name=self._name.value.strip(),
            image=self._image.value,
            kind=self._kind.value.strip(),
            key=self._key.value,
            subnet=self._subnet.value,
            public=self._public.value,
            group=self._group.value,
            size=self._size.value.strip(),
            root_device=self._choices.root_devices.get(self._image.value, "/dev/xvda"),
            role=self._role.value,
            market=self._market.value,
            user_data=self._user_data.value,
            number=self._number.value.strip(),
            tags=tuple(self._tags.pairs),
            root_kind=self._root_kind.value,
            disks=self._disks.disks,
            taken=self._choices.devices.get(self._image.value, frozenset()),
        )

    def _processor(self) -> str:
        return self._choices.processors.get(self._image.value, "")

    def _take(self, kind: str) -> None:
        self._kind.set(kind)
        self._changed()

    def _take_key(self, name: str) -> None:
        self._key.choose(name)
        self._changed()

    async def _new_group(self) -> None:
        """In the VPC of the subnet that was chosen."""
        vpc = self._vpcs.get(self._subnet.value, "")

        async def take(group: str, name: str, made_in: str) -> None:
            self._vpcs[group] = made_in
            self._group.choose(group, f"{name} ({group}, {made_in})")
            await self._group_chosen(group)

        await create_security_group(self._view, done=take, vpc=vpc)

    async def _group_chosen(self, group: str) -> None:
        """What it lets in is said: a server that nobody can reach is the usual surprise."""
        self._changed()
        # What stands there is of the group before.
        self._rules.clear()
        if not group:
            return
        found: list[RuleRow] | SkyliftError
        try:
            found = await in_thread(self._view.port.rules, [group])
        except SkyliftError as error:
            found = error
        if group != self._group.value:
            return
        with self._rules.clear():
            if isinstance(found, SkyliftError):
                say_trouble(found)
            else:
                let_in = [f"{each.ports} from {each.other}" for each in found if each.direction == "in"]
                tag("p", f"Lets in {'; '.join(let_in)}." if let_in else "Lets nothing in.", "empty-line")

    def _changed(self, _: str = "") -> None:
        wish, kinds = self._wish(), self._choices.kinds
        missing = wish.missing(kinds, self._processor())
        if apart := other_vpc(wish.subnet, wish.group, self._vpcs):
            missing.append(apart)
        enable(self._launch, not missing)
        with self._summary.clear():
            if missing:
                for each in missing:
                    tag("p", each, "missing")
                return
            kind, number = kinds[wish.kind], int(wish.number)
            hourly = kind.spot if wish.market == "spot" else kind.on_demand
            facts(
                (
                    ("Number", wish.number),
                    ("Type", f"{kind.name}: {kind.vcpus} vCPU, {kind.memory_gib:g} GiB"),
                    ("Free tier", "Yes, on AWS in a new account" if kind.free_tier else "No"),
                    ("On demand", spell_price(kind.on_demand)),
                    ("Spot", spell_spot(kind)),
                    ("An hour", "unknown" if hourly is None else f"${hourly * number:.4f}"),
                    ("A month", "unknown" if hourly is None else f"${hourly * number * HOURS:.2f}, if it is always on"),
                )
            )
            copyable(wish.call().command)

    async def _go(self) -> None:
        enable(self._launch, False)
        self._trouble.clear()
        try:
            answer: Any = await in_thread(self._view.perform, self._wish().call())
        except SkyliftError as error:
            with self._trouble:
                say_trouble(error)
            enable(self._launch, True)
            return
        self._view.instances.look_soon()
        launched = answer["Instances"]
        go_to(f"/instances/{launched[0]['InstanceId']}?launched=now" if len(launched) == 1 else "/instances")


class _DiskFields:
    """Disks beside the root's, as many as somebody likes."""

    def __init__(self, changed: Callable[[str], Any]) -> None:
        self._changed = changed
        self._rows: list[_DiskField] = []
        self._list = box()
        with box("buttons-left"):
            self._add_button = button("Add disk", self._add, "quiet")

    @property
    def disks(self) -> tuple[Disk, ...]:
        return tuple(each.disk for each in self._rows)

    def _add(self) -> None:
        if len(self._rows) == len(_DEVICES):
            return
        with self._list:
            self._rows.append(_DiskField(self._changed, self._remove))
        focus(self._rows[-1].size.element)
        self._changed("")

    def _remove(self, disk: _DiskField) -> None:
        self._rows.remove(disk)
        disk.place.delete()
        focus(self._rows[-1].size.element if self._rows else self._add_button)
        self._changed("")


class _DiskField:
    def __init__(self, changed: Callable[[str], Any], remove: Callable[[_DiskField], None]) -> None:
        with box("bar") as self.place:
            self.size = Field("Disk in GiB", changed, value="8", inputmode="numeric")
            self._kind = Select("Type of the disk", dict.fromkeys(_DISK_TYPES), changed)
            self._end = Select("At the end", dict(_ENDS), changed)
            button("Remove", lambda: remove(self), "quiet", aria_label="Remove disk")

    @property
    def disk(self) -> Disk:
        return Disk(self.size.value.strip(), self._kind.value, self._end.value == "stays")
