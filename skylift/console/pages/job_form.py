"""The fields of a new job that several pages share, and the summary that submits it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from skylift.client.errors import SkyliftError
from skylift.console.cloud_view import CloudView
from skylift.console.job_wish import JobSpec, JobWish
from skylift.console.pages.type_picker import TypePicker, spell_price
from skylift.console.port import PricedType
from skylift.console.widgets.element import box, button, copyable, enable, facts, go_to, tag
from skylift.console.widgets.field import Field, suggest
from skylift.console.widgets.tabs import in_thread
from skylift.console.widgets.trouble import say_trouble

DEFAULT_TYPE = "t3.small"


class JobForm:
    """`first` is what its fields begin with."""

    def __init__(self, kinds: Mapping[str, PricedType], changed: Callable[[str], Any], first: JobWish) -> None:
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


class JobSummary:
    """Beside a form: what is missing in it, or what the job costs, and the button that submits it. `submit` gives the
    job's name; `note` is where the command is to be typed."""

    def __init__(
        self,
        view: CloudView,
        kinds: Mapping[str, PricedType],
        *,
        missing: Callable[[], Sequence[str]],
        spec: Callable[[], JobSpec],
        submit: Callable[[JobSpec], str],
        note: str,
    ) -> None:
        self._view, self._kinds, self._note = view, kinds, note
        self._missing, self._spec, self._submit = missing, spec, submit
        self._busy = False
        with box("summary"):
            tag("h2", "Summary")
            self._shown = box()
            self._run = button("Run", self._go, "primary")
            self._trouble = box()
        self.show()

    def show(self) -> None:
        missing = self._missing()
        enable(self._run, not missing and not self._busy)
        with self._shown.clear():
            for each in missing:
                tag("p", each, "missing")
            if not missing:
                self._show_job(self._spec())

    def _show_job(self, spec: JobSpec) -> None:
        kind = self._kinds[spec.options.get("type") or DEFAULT_TYPE]
        keep = spec.options.get("keep")
        facts(
            (
                ("Type", f"{kind.name}: {kind.vcpus} vCPU, {kind.memory_gib:g} GiB"),
                ("On demand", spell_price(kind.on_demand)),
                ("Off", "some time after the program has ended (--keep)" if keep else "when the program has ended"),
            )
        )
        copyable(spec.command)
        tag("p", self._note, "count-left")

    async def _go(self) -> None:
        self._busy = True
        enable(self._run, False)
        with self._trouble.clear():
            tag("p", "A server is being launched …", "waiting")
        try:
            name = await in_thread(self._submit, self._spec())
        except SkyliftError as error:
            with self._trouble.clear():
                say_trouble(error)
            self._busy = False
            self.show()
            return
        self._view.jobs.look_soon()
        go_to(f"/jobs/{name}")
