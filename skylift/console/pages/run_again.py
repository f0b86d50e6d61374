"""A job once more, with changes: its files and settings are those that its record tells of."""

from __future__ import annotations

from skylift.console.cloud_view import CloudView
from skylift.console.job_wish import JobSpec, again_spec, wish_again
from skylift.console.pages.job_form import JobForm, show_job
from skylift.console.widgets.element import box, button, copyable, enable, go_to, tag
from skylift.console.widgets.frame import head
from skylift.console.widgets.tabs import in_thread
from skylift.console.widgets.trouble import say_trouble
from skylift.runner.errors import SkyliftError

_NOTE = "In the folder that it was started from, which the record does not name. Here, the files are those that it had."
_ENV = "It had environment variables. Their values are in no record: enter them again, or it goes without."


class RunAgainPage:
    def __init__(self, view: CloudView, name: str) -> None:
        self._view, self._name = view, name
        self._kinds = view.port.kinds()
        self._busy = False

    async def show(self) -> None:
        place = box("panel")
        try:
            self._repeat = await in_thread(self._view.port.repeat, self._name)
        except SkyliftError as error:
            with place:
                say_trouble(error)
            return
        with place:
            head(f"Run {self._name} again")
            if self._repeat.obstacles:
                self._refuse()
            else:
                self._build()
                self._changed()

    def _refuse(self) -> None:
        tag("h2", "It cannot be run again from here.")
        with tag("ul"):
            for each in self._repeat.obstacles:
                tag("li", each)
        tag("p", "What its record has, as a command to go on from:")
        copyable(again_spec(self._repeat, wish_again(self._repeat)).command)

    def _build(self) -> None:
        with box("launch"):
            with box("form"):
                if self._repeat.had_env:
                    tag("p", _ENV, "missing")
                self._form = JobForm(self._kinds, self._changed, wish_again(self._repeat))
            with box("summary"):
                tag("h2", "Summary")
                self._summary = box()
                self._run = button("Run", self._go, "primary")
                self._trouble = box()

    def _spec(self) -> JobSpec:
        return again_spec(self._repeat, self._form.wish)

    def _changed(self, _: str = "") -> None:
        missing = self._form.wish.missing(self._kinds)
        enable(self._run, not missing and not self._busy)
        with self._summary.clear():
            for each in missing:
                tag("p", each, "missing")
            if not missing:
                show_job(self._spec(), self._kinds, _NOTE)

    async def _go(self) -> None:
        self._busy = True
        enable(self._run, False)
        with self._trouble.clear():
            tag("p", "A server is being launched …", "waiting")
        try:
            name = await in_thread(self._view.port.submit_again, self._repeat, self._spec())
        except SkyliftError as error:
            with self._trouble.clear():
                say_trouble(error)
            self._busy = False
            self._changed()
            return
        self._view.jobs.look_soon()
        go_to(f"/jobs/{name}")
