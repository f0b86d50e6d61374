"""One job: its log as it comes, its results, and its steps."""

from __future__ import annotations

import asyncio
from functools import partial
from shlex import quote
from urllib.parse import quote as encoded

from skylift.console.cloud_view import CloudView
from skylift.console.job_log import JobLog
from skylift.console.job_port import can_be_cancelled, has_ended
from skylift.console.log_search import LogSearch
from skylift.console.pages.map_inputs import InputsTab
from skylift.console.poller import Change
from skylift.console.rows import as_moment
from skylift.console.widgets.dialog import confirm
from skylift.console.widgets.element import box, button, command_line, copyable, enable, facts, link, on_input, tag
from skylift.console.widgets.frame import head
from skylift.console.widgets.small_table import file_table, state
from skylift.console.widgets.tabs import Tabs, WhenGone, in_thread
from skylift.console.widgets.terminal import TerminalView, full_screen
from skylift.console.widgets.trouble import panel

_CANCEL, _TURN_OFF = "Cancel job", "Turn its server off"
_OF_JOB = "Its program gets SIGTERM, its results so far go to S3, and its server is turned off."
_OF_SERVER = "The job has ended. Its server is terminated, with all that is on its disk only, and its role is removed."

_ABOUT_LOG = "Errors are yellow; the search has the last 8 MiB."


class JobPage:
    def __init__(self, view: CloudView, name: str) -> None:
        self._view, self._name = view, name

    async def show(self) -> None:
        with panel("All jobs", "/jobs"):
            job = await in_thread(self._view.job_port.job, self._name)
            with head(self._name):
                link("Run again", f"/run-again/{encoded(self._name, safe='')}", "button")
                self._cancel = button(_CANCEL, self._ask, "danger")
            self._state = state(str(job.state), job.state)
            self._tabs = Tabs(
                {
                    **({"Inputs": InputsTab(self._view, self._name).show} if job.is_map else {}),
                    "Log": self._log,
                    "Steps": self._steps,
                    "Results": self._results,
                    "Details": self._details,
                }
            )
            command_line(f"skylift logs -f {quote(self._name)}")
            self._offer(job.state, has_server=bool(job.instance_state))
            self._tabs.begin()
            self._view.jobs.listen(self._hear)

    def _hear(self, change: Change) -> bool:
        if self._state.is_deleted:
            return False
        for row in (*change.added, *change.updated):
            if row["id"] == self._name:
                self._state.set_text(row["state"])
                self._state.classes(replace=f"state state-{row['state']}")
                self._offer(row["state"], has_server=bool(row["server"]))
        return True

    def _offer(self, now: str, *, has_server: bool) -> None:
        """What `skylift cancel` would do now."""
        self._ended = has_ended(now)
        self._cancel.set_text(_TURN_OFF if self._ended and has_server else _CANCEL)
        enable(self._cancel, can_be_cancelled(now, has_server=has_server))

    def _ask(self) -> None:
        question, what = ("Turn its server off?", _OF_SERVER) if self._ended else ("Cancel this job?", _OF_JOB)
        confirm(
            question,
            [self._name, what],
            f"skylift cancel {quote(self._name)}",
            _TURN_OFF if self._ended else _CANCEL,
            lambda: self._view.job_port.cancel(self._name),
            done=self._view.jobs.look_soon,
        )

    async def _log(self) -> None:
        log = JobLog(await in_thread(lambda: self._view.port.account), self._name)
        with box("bar"):
            search = tag("input", type="search", placeholder="Show lines with …", aria_label="Search the log")
            count = tag("span", _ABOUT_LOG, "count", role="status")
            full_screen()
        terminal = TerminalView(log.text, f"Log of {self._name}")
        searching: list[asyncio.Task[None]] = []

        def stop_searching() -> None:
            while searching:
                searching.pop().cancel()

        def look_for(words: str) -> None:
            stop_searching()
            if not words:
                count.set_text(_ABOUT_LOG)
                terminal.show(log.text)
                return
            found = LogSearch(log.text, words, lambda lines: count.set_text(f"{lines:,} line{'s' * (lines != 1)}"))
            searching.append(asyncio.create_task(found.run()))
            terminal.show(found.found)

        def leave() -> None:
            stop_searching()
            log.stop()

        on_input(search, look_for)
        log.start()
        WhenGone(leave)

    async def _steps(self) -> None:
        found = await in_thread(self._view.job_port.job_steps, self._name)
        with tag("ol", "", "timeline", aria_label="Steps, the first one first"):
            for each in found:
                with tag("li", "", f"state-{each.state}"):
                    with box("timeline-head"):
                        tag("span", each.when, "timeline-when")
                        tag("strong", each.what)
                        tag("span", each.after, "timeline-when")
                    if each.detail:
                        tag("p", each.detail, "timeline-why")

    async def _results(self) -> None:
        found = await in_thread(self._view.job_port.results, self._name)
        if not found:
            tag("p", "There are no results yet. They are here when the program has ended.", "empty-line")
        else:
            file_table(found, partial(self._view.job_port.result, self._name))
        copyable(f"skylift results {quote(self._name)}")

    async def _details(self) -> None:
        job = await in_thread(self._view.job_port.job, self._name)
        cost = "" if job.cost_usd is None else f"${job.cost_usd:.4f}" + ("" if job.charged else " on AWS")
        pairs = (
            ("Program", job.program or ""),
            ("State", str(job.state)),
            ("Why", job.reason or ""),
            ("Exit code", "" if job.exit_code is None else str(job.exit_code)),
            ("Submitted", as_moment(job.created)),
            ("Program started", as_moment(job.started)),
            ("Ended", as_moment(job.ended)),
            ("Off at the latest", as_moment(job.off_by)),
            ("Server", job.instance or ""),
            ("Type", job.type or ""),
            ("Address", job.address or ""),
            ("Attempt", str(job.attempt)),
            ("Retries", str(job.retries)),
            ("Cost", cost),
        )
        facts(
            pairs, {"Server": f"/instances/{job.instance or ''}", "Type": f"/prices/{encoded(job.type or '', safe='')}"}
        )
