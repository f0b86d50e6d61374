"""A new job from a script that is dropped, chosen or written here."""

from __future__ import annotations

from skylift.console.cloud_view import CloudView
from skylift.console.job_wish import SCRIPT_BYTES, JobSpec, JobWish, script_missing, script_spec
from skylift.console.pages.job_form import JobForm, JobSummary
from skylift.console.widgets.element import box, tag
from skylift.console.widgets.field import Field
from skylift.console.widgets.frame import head


class NewJobPage:
    def __init__(self, view: CloudView) -> None:
        self._kinds = view.port.kinds()
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
            self._summary = JobSummary(
                view,
                self._kinds,
                missing=self._missing,
                spec=self._spec,
                submit=lambda spec: view.job_port.submit_script(spec, self._text.value),
                note="In the script's folder, with the same variables set.",
            )
        drop.props["data-name"] = self._file.element.html_id
        drop.props["data-text"] = self._text.element.html_id
        drop.props["data-most"] = str(SCRIPT_BYTES)

    def _spec(self) -> JobSpec:
        return script_spec(self._file.value.strip(), self._form.wish)

    def _missing(self) -> list[str]:
        return [*script_missing(self._file.value.strip(), self._text.value), *self._form.wish.missing(self._kinds)]

    def _changed(self, _: str) -> None:
        self._summary.show()
