"""The part of a form that all jobs have: arguments, server, results, name, and what goes along."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from skylift.console.job_wish import JobSpec, JobWish
from skylift.console.pages.type_picker import TypePicker, spell_price
from skylift.console.port import Kind
from skylift.console.widgets.element import Field, box, button, copyable, facts, suggest, tag

DEFAULT_TYPE = "t3.small"


class JobForm:
    """`first` is what its fields begin with."""

    def __init__(self, kinds: Mapping[str, Kind], changed: Callable[[str], Any], first: JobWish) -> None:
        self._on_change = changed
        self._arguments = Field("Arguments", changed, value=first.arguments, spellcheck="false", placeholder="as typed")
        with box("bar"):
            self._kind = Field("Type", changed, value=first.kind, spellcheck="false", list="types")
            self._kind.element.props["placeholder"] = DEFAULT_TYPE
            button("Choose by need", lambda: TypePicker(kinds, "", self._take), "quiet")
        suggest("types", {each.name: each.words for each in kinds.values() if each.burstable})
        self._outputs = Field("Results", changed, value=first.outputs, spellcheck="false", placeholder="out *.csv")
        self._name = Field("Job name", changed, value=first.name, spellcheck="false", placeholder="made up")
        self._max_time = Field("Ends at the latest after", changed, value=first.max_time, placeholder="1h")
        self._environment = Field(
            "Environment, a NAME=VALUE a line",
            changed,
            name="textarea",
            rows="2",
            spellcheck="false",
            autocomplete="off",
        )

    @property
    def wish(self) -> JobWish:
        return JobWish(
            arguments=self._arguments.value,
            kind=self._kind.value.strip(),
            outputs=self._outputs.value,
            name=self._name.value.strip(),
            max_time=self._max_time.value.strip(),
            environment=self._environment.value,
        )

    def _take(self, kind: str) -> None:
        self._kind.set(kind)
        self._on_change(kind)


def show_job(spec: JobSpec, kinds: Mapping[str, Kind], note: str) -> None:
    """What it costs, and the command that does the same; `note` is where that is to be typed."""
    kind = kinds[spec.options.get("type") or DEFAULT_TYPE]
    keep = spec.options.get("keep")
    facts(
        (
            ("Type", f"{kind.name}: {kind.vcpus} vCPU, {kind.memory_gib:g} GiB"),
            ("On demand", spell_price(kind.on_demand)),
            ("Off", "some time after the program has ended (--keep)" if keep else "when the program has ended"),
        )
    )
    copyable(spec.command)
    tag("p", note, "count-left")
