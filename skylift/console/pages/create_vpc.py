"""VPC and more: what will be made is drawn while it is chosen, and then made, a step after the other."""

from __future__ import annotations

import asyncio

from skylift.client.errors import Refused, SkyliftError
from skylift.console.cloud_view import CloudView
from skylift.console.networks import Networks
from skylift.console.vpc_plan import NAT_EACH, NAT_NONE, NAT_ONE, Making, VpcChoice
from skylift.console.widgets.element import box, button, copyable, enable, go_to, link, set_attribute, tag
from skylift.console.widgets.field import Field, Select
from skylift.console.widgets.frame import head
from skylift.console.widgets.map_view import MapView
from skylift.console.widgets.tabs import in_background, in_thread
from skylift.console.widgets.trouble import panel, say_trouble

_MOST_ZONES = 3
_NATS = {NAT_NONE: "None", NAT_ONE: "One: costs by the hour", NAT_EACH: "One in each zone: each costs by the hour"}
_PATIENCE, _PAUSE = 120.0, 2.0
"""Seconds in which AWS must have let go of what stands in the way of a removal, and between two looks at AWS."""


class CreateVpcPage:
    def __init__(self, view: CloudView) -> None:
        self._view = view

    async def show(self) -> None:
        with panel():
            self._zones = (await in_thread(Networks(self._view.port).zones))[: 2 * _MOST_ZONES]
            with head("Create a VPC and more"):
                link("All VPCs", "/vpcs", "button")
            self._place = box("plan")
            with self._place:
                self._build()
            self._progress = box("panel")
        self._changed()

    def _build(self) -> None:
        with box("form"):
            self._name = Field("Name", self._changed, value="shop", spellcheck="false")
            self._cidr = Field("IPv4 range", self._changed, value="10.0.0.0/16", spellcheck="false")
            most = min(_MOST_ZONES, len(self._zones))
            numbers = {str(each): ", ".join(self._zones[:each]) for each in range(1, most + 1)}
            self._number = Select(
                "Zones", dict(sorted(numbers.items(), key=lambda each: each[0] != "2")), self._changed
            )
            self._public = Select("Public subnets", {"1": "One in each zone", "0": "None"}, self._changed)
            private = {"1": "One in each zone", "2": "Two in each zone", "0": "None"}
            self._private = Select("Private subnets", private, self._changed)
            self._nat = Select("NAT gateway", _NATS, self._changed)
            self._s3 = Select("Endpoint of S3", {"1": "Yes: costs nothing", "0": "No"}, self._changed)
            self._make = button("Create VPC", self._begin, "primary")
        with box("preview"):
            tag("h2", "What will be made")
            self._shown = box()

    def _plan(self) -> VpcChoice:
        return VpcChoice(
            name=self._name.value.strip(),
            cidr=self._cidr.value.strip(),
            zones=tuple(self._zones[: int(self._number.value or 0)]),
            public=self._public.value == "1",
            private=int(self._private.value),
            nat=self._nat.value,
            s3=self._s3.value == "1",
        )

    def _changed(self, _: str = "") -> None:
        plan = self._plan()
        missing = plan.missing()
        enable(self._make, not missing)
        with self._shown.clear():
            for each in missing:
                tag("p", each, "missing")
            if not missing:
                MapView(plan.preview())
                with tag("details"):
                    tag("summary", "The same as commands")
                    copyable(Making(plan.steps(self._view.port.settings.region)).command)

    def _begin(self) -> None:
        making = Making(self._plan().steps(self._view.port.settings.region))
        self._place.delete()
        with self._progress:
            VpcProgress(self._view, making)


class VpcProgress:
    """The list of what is made. It goes on when its page is gone."""

    def __init__(self, view: CloudView, making: Making) -> None:
        self._view, self._making = view, making
        with tag("ol", "", "steps", aria_label="Progress", aria_live="polite"):
            self._lines = [tag("li", step.title, "step") for step in making.steps]
        self._below = box("panel")
        in_background(self._make())

    async def _make(self) -> None:
        """The next steps, until all is there or one has failed."""
        making, trouble = self._making, None
        self._below.clear()
        while not making.is_over and trouble is None:
            self._mark(making.done, "doing")
            try:
                made = await in_thread(making.make_next, self._view.perform)
            except SkyliftError as error:
                trouble = error
                self._mark(making.done, "failed")
            else:
                if made:
                    self._mark(making.done - 1, "done")
                else:
                    await asyncio.sleep(_PAUSE)
        self._view.vpcs.look_soon()
        with self._below.clear():
            if trouble is None:
                with box("bar"):
                    link("Open the VPC", f"/vpcs/{making.made['vpc']}", "button primary")
                return
            say_trouble(trouble)
            with box("bar"):
                button("Try again", self._make, "primary")
                button("Remove what was made", self._undo, "danger")

    async def _undo(self) -> None:
        making = self._making
        with self._below.clear():
            tag("p", "Removing …", "waiting")
        deadline = asyncio.get_running_loop().time() + _PATIENCE
        while making.done:
            try:
                await in_thread(making.undo_last, self._view.perform)
            except SkyliftError as error:
                # What was deleted before it may still hold it: a NAT gateway does so for a minute.
                if isinstance(error, Refused) and asyncio.get_running_loop().time() < deadline:
                    await asyncio.sleep(_PAUSE)
                    continue
                with self._below.clear():
                    say_trouble(error)
                    button("Go on removing", self._undo, "danger")
                return
            self._mark(making.done, "removed")
        self._view.vpcs.look_soon()
        with self._below.clear():
            tag("p", "All of it is gone.", "empty-line")
            button("Begin again", lambda: go_to("/create-vpc"))

    def _mark(self, number: int, state: str) -> None:
        line, step = self._lines[number], self._making.steps[number]
        made = self._making.made.get(step.gives, "") if state == "done" else ""
        line.set_text(f"{step.title}{f': {made}' if made else ''}")
        line.classes(replace=f"step step-{state}")
        set_attribute(line, "data-state", state)
