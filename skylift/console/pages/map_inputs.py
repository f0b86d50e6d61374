"""The inputs of a map: how each one went, as a tab of its job's page, and a page for one of them."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import partial
from shlex import quote
from urllib.parse import quote as encoded

from skylift.client.errors import SkyliftError
from skylift.console.cloud_view import CloudView
from skylift.console.input_log import InputLog
from skylift.console.map_inputs import InputRow, MapInputs, ShownInput
from skylift.console.poller import Change, Topic
from skylift.console.rows import as_time
from skylift.console.widgets.element import box, command_line, copyable, facts, link, on_input, tag
from skylift.console.widgets.frame import head
from skylift.console.widgets.grid import Column, Grid
from skylift.console.widgets.small_table import file_table, state
from skylift.console.widgets.tabs import in_background, in_thread
from skylift.console.widgets.terminal import TerminalView, full_screen
from skylift.console.widgets.trouble import trouble_in


def _columns(job: str) -> tuple[Column, ...]:
    return (
        Column("id", "Input", 90, leads=f"/inputs/{encoded(job, safe='')}/"),
        Column("name", "Called"),
        Column("state", "State", 130, kind="state"),
        Column("exit", "Exit", 70, kind="number"),
        Column("seconds", "Time", 84, kind="seconds"),
        Column("attempt", "Attempt", 90, kind="number"),
        Column("server", "Server", 180, leads="/instances/"),
        Column("why", "Last words"),
    )


class InputsTab:
    """Each input, while the map runs and afterwards."""

    def __init__(self, view: CloudView, job: str) -> None:
        self._view, self._job = view, job

    async def show(self) -> None:
        inputs, topic = await in_thread(self._view.map_inputs, self._job)
        with box("bar"):
            search = tag("input", type="search", placeholder="Filter by any field", aria_label="Filter")
            self._count = tag("span", "", "count", role="status")
        self._errors = tag("ul", "", "complaints")
        grid = Grid(
            topic, _columns(self._job), label="Inputs", empty=_say_empty, on_change=lambda _: self._sum_up(inputs)
        )
        on_input(search, grid.filter)
        copyable(f"skylift map-results {quote(self._job)}")

    def _sum_up(self, inputs: MapInputs) -> None:
        summary = inputs.summary
        self._count.set_text(summary.words)
        with self._errors.clear():
            for words, number in summary.errors:
                tag("li", f"{number:,} × {words}")


def _say_empty() -> None:
    tag("p", "This map has no inputs.", "empty-line")


class InputPage:
    def __init__(self, view: CloudView, job: str, index: str) -> None:
        self._view, self._job, self._index = view, job, index

    async def show(self) -> None:
        self._place = box("panel")
        with trouble_in(self._place, "All jobs", "/jobs"):
            self._inputs, topic = await in_thread(self._view.map_inputs, self._job)
            shown = await in_thread(self._inputs.one, self._index)
            if not self._place.is_deleted:
                self._fill(shown, topic)

    def _fill(self, shown: ShownInput, topic: Topic[InputRow]) -> None:
        """One that has not ended is followed."""
        with self._place.clear():
            with head(f"Input {self._index} of {self._job}"):
                link("All inputs", f"/jobs/{encoded(self._job, safe='')}", "button")
            self._facts(shown)
            self._results(shown)
            if shown.outcome is None and shown.row.state in ("running", "waiting"):
                self._follow(shown, topic)
            self._output("Standard output", shown.stdout)
            self._output("Standard error", shown.stderr)
            if shown.cut:
                tag("p", shown.cut, "empty-line")
            command_line(f"skylift logs {quote(self._job)} --input {self._index}")

    def _follow(self, shown: ShownInput, topic: Topic[InputRow]) -> None:
        """What it writes, as its server reports it, until it has ended."""
        log = InputLog()
        with box("bar"):
            tag("span", "Its server reports what it writes after some seconds. Errors are yellow.", "count-left")
            when = tag("span", "", "count", role="status")
            full_screen()
        terminal = TerminalView(log.text, f"Output of input {self._index}")
        looking = False

        def add(seen: ShownInput) -> None:
            if seen.live is not None:
                log.add(seen.live)
                when.set_text(f"as of {as_time(datetime.fromtimestamp(seen.live.written, UTC))}")

        async def look() -> None:
            nonlocal looking
            try:
                seen = await in_thread(self._inputs.one, self._index)
            except SkyliftError:
                # The next look may be answered. A page with an output in it is worth more than one with an error.
                return
            finally:
                looking = False
            if terminal.is_gone:
                return
            if seen.outcome is not None or seen.row.state != shown.row.state:
                # What was seen is what is shown: another question might not be answered.
                self._fill(seen, topic)
            else:
                add(seen)

        def hear(_: Change) -> bool:
            nonlocal looking
            if not terminal.is_gone and not looking:
                looking = True
                in_background(look())
            return not terminal.is_gone

        add(shown)
        topic.listen(hear)

    def _facts(self, shown: ShownInput) -> None:
        row, outcome = shown.row, shown.outcome
        state(row.state, row.state.replace(" ", "-"))
        pairs: tuple[tuple[str, str], ...] = (
            ("Input", shown.given.text[:2000]),
            ("Attempt", "" if row.attempt is None else str(row.attempt)),
            ("Servers lost under it", str(shown.losses)),
        )
        if outcome is not None:
            pairs += (
                ("Why", outcome.reason),
                ("Exit code", str(outcome.exit_code)),
                ("Signal", outcome.signal or ""),
                ("Server", row.server),
                ("Started", as_time(datetime.fromtimestamp(outcome.started, UTC)) if outcome.started else ""),
                ("Time", f"{row.seconds:g} s"),
                ("Could not be sent", ", ".join(outcome.missing)),
            )
        facts(pairs, {"Server": f"/instances/{row.server}"} if row.server else None)

    def _results(self, shown: ShownInput) -> None:
        results = shown.outcome.results if shown.outcome else ()
        if results:
            tag("h2", "Results")
            file_table([(each.path, each.size) for each in results], partial(self._inputs.result, self._index))

    def _output(self, title: str, text: str) -> None:
        if text:
            tag("h2", title)
            tag("pre", text, "output", tabindex="0", aria_label=title)
