"""A job run again with changes: its files and settings come from its record."""

from __future__ import annotations

from skylift.console.cloud_view import CloudView
from skylift.console.job_wish import again_spec, spell_not_recorded, wish_again
from skylift.console.pages.job_form import JobForm, JobSummary
from skylift.console.widgets.element import box, copyable, tag
from skylift.console.widgets.frame import head
from skylift.console.widgets.tabs import in_thread
from skylift.console.widgets.trouble import panel

_NOTE = "In the folder that it was started from, which the record does not name. Here, the files are those that it had."
_ENV = "It had environment variables. Their values are in no record: enter them again, or it goes without."


class RunAgainPage:
    def __init__(self, view: CloudView, name: str) -> None:
        self._view, self._name = view, name
        self._kinds = view.port.kinds()

    async def show(self) -> None:
        with panel("All jobs", "/jobs"):
            self._repeat = await in_thread(self._view.job_port.repeat, self._name)
            head(f"Run {self._name} again")
            if self._repeat.obstacles:
                self._refuse()
            else:
                self._build()

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
                self._form = JobForm(self._kinds, lambda _: self._summary.show(), wish_again(self._repeat))
            self._summary = JobSummary(
                self._view,
                self._kinds,
                missing=lambda: self._form.wish.missing(self._kinds),
                spec=lambda: again_spec(self._repeat, self._form.wish),
                submit=lambda spec: self._view.job_port.submit_again(self._repeat, spec),
                note=f"{_NOTE} {spell_not_recorded()}",
            )
