"""A new job from a script that is dropped, chosen or written here."""

from __future__ import annotations

from skylift.console.cloud_view import CloudView
from skylift.console.job_wish import SCRIPT_BYTES, JobSpec, JobWish, script_missing, script_spec
from skylift.console.pages.job_form import JobForm, show_job
from skylift.console.widgets.element import Field, box, button, enable, go_to, tag
from skylift.console.widgets.frame import head
from skylift.console.widgets.tabs import in_thread
from skylift.console.widgets.trouble import say_trouble
from skylift.runner.errors import SkyliftError


class NewJobPage:
    def __init__(self, view: CloudView) -> None:
        self._view, self._kinds = view, view.port.kinds()
        self._busy = False
        head("New job")
        with box("launch"):
            with box("form"):
                with box("script-drop") as drop:
                    tag("p", "Drop a script here, choose one, or write it below.")
                    tag("input", type="file", accept=".py", aria_label="Choose a script")
                    tag("p", "It is sent alone. The packages that it needs stand in its header (PEP 723).")
                self._file = Field("File name", self._changed, value="job.py", spellcheck="false")
                self._text = Field(
                    "Script", self._changed, name="textarea", rows="12", spellcheck="false", maxlength=str(SCRIPT_BYTES)
                )
                self._form = JobForm(self._kinds, self._changed, JobWish())
            with box("summary"):
                tag("h2", "Summary")
                self._summary = box()
                self._run = button("Run", self._go, "primary")
                self._trouble = box()
        drop.props["data-name"] = self._file.element.html_id
        drop.props["data-text"] = self._text.element.html_id
        drop.props["data-most"] = str(SCRIPT_BYTES)
        self._changed()

    def _spec(self) -> JobSpec:
        return script_spec(self._file.value.strip(), self._form.wish)

    def _changed(self, _: str = "") -> None:
        missing = script_missing(self._file.value.strip(), self._text.value)
        missing += self._form.wish.missing(self._kinds)
        enable(self._run, not missing and not self._busy)
        with self._summary.clear():
            for each in missing:
                tag("p", each, "missing")
            if not missing:
                show_job(self._spec(), self._kinds, "In the script's folder, with the same variables set.")

    async def _go(self) -> None:
        self._busy = True
        enable(self._run, False)
        with self._trouble.clear():
            tag("p", "A server is being launched …", "waiting")
        try:
            name = await in_thread(self._view.port.submit_script, self._spec(), self._text.value)
        except SkyliftError as error:
            with self._trouble.clear():
                say_trouble(error)
            self._busy = False
            self._changed()
            return
        self._view.jobs.look_soon()
        go_to(f"/jobs/{name}")
