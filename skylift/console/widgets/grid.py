"""Tables of many rows, by AG Grid. Columns are the program's; rows come from the poller and are values only."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from nicegui import ui

from skylift.client.errors import RunError
from skylift.console.poller import Change, FlatRow, Topic
from skylift.console.widgets.element import box, command_line, on_input, tag
from skylift.console.widgets.trouble import say_trouble

_LINK = """(params) => {
    if (!params.value) return "";
    const anchor = document.createElement("a");
    anchor.textContent = params.value;
    anchor.href = "%s" + encodeURIComponent(params.value);
    anchor.tabIndex = -1;
    return anchor;
}"""
_STATE = """(params) => {
    const state = document.createElement("span");
    state.className = "state state-" + String(params.value).replace(/[^a-z-]/g, "");
    state.textContent = params.value;
    return state;
}"""
_MONEY = """(params) => {
    if (params.value == null) return "";
    return params.value < 0.0005 ? "< $0.001" : "$" + params.value.toFixed(3);
}"""
_SECONDS = """(params) => {
    const value = params.value;
    if (value == null) return "";
    const parts = [[86400, "d"], [3600, "h"], [60, "m"], [1, "s"]];
    const first = parts.findIndex(([size]) => value >= size);
    if (first < 0) return "0s";
    const [size, unit] = parts[first];
    const rest = parts[first + 1];
    const small = rest ? Math.floor((value % size) / rest[0]) : 0;
    return Math.floor(value / size) + unit + (small ? " " + small + rest[1] : "");
}"""
_ENTER = """(event) => {
    if (event.event.key !== "Enter" || event.event.target.closest("a, input")) return;
    const cell = event.event.target.closest(".ag-cell");
    const link = cell?.querySelector("a") || cell?.closest(".ag-row").querySelector("a");
    link?.click();
}"""
# Enter on a cell follows its link, or else that of its row.
# What AG Grid calls, as programs of ours: they make text nodes of values.


@dataclass(frozen=True)
class Column:
    """`kind` is how its values are shown; `leads` is the beginning of the path that a value is a link to. What is
    hidden is not shown, and is found by the filter."""

    field: str
    title: str
    width: int = 0
    kind: str = "text"
    leads: str = ""

    def definition(self) -> dict[str, Any]:
        found: dict[str, Any] = {"field": self.field, "headerName": self.title}
        found |= {"width": self.width} if self.width else {"flex": 1, "minWidth": 120}
        if self.leads:
            found[":cellRenderer"] = _LINK % self.leads
        elif self.kind == "state":
            found[":cellRenderer"] = _STATE
        elif self.kind == "money":
            found |= {":valueFormatter": _MONEY, "type": "rightAligned"}
        elif self.kind == "seconds":
            found |= {":valueFormatter": _SECONDS, "type": "rightAligned"}
        elif self.kind == "number":
            found["type"] = "rightAligned"
        elif self.kind == "code":
            found["cellClass"] = "code"
        elif self.kind == "hidden":
            found["hide"] = True
        return found


class Grid:
    """A table that follows a topic. `on_choice` gets the rows that are selected: at first none, then each time that
    others are or that they may have changed. `empty` fills the place where there are no rows."""

    def __init__(
        self,
        topic: Topic[Any],
        columns: Sequence[Column],
        *,
        label: str,
        empty: Callable[[], None],
        on_choice: Callable[[list[FlatRow]], None] | None = None,
        on_change: Callable[[Sequence[FlatRow]], None] | None = None,
    ) -> None:
        self._on_choice, self._on_change = on_choice, on_change
        self._rows: dict[str, FlatRow] = {}
        self._selected: list[str] = []
        self._trouble = box()
        self._empty = box("empty")
        with self._empty:
            empty()
        self._empty.set_visibility(False)
        self._waiting = tag("p", "Looking …", "waiting")
        options: dict[str, Any] = {
            "columnDefs": [column.definition() for column in columns],
            "defaultColDef": {"sortable": True, "resizable": True, "filter": True, "suppressHeaderMenuButton": True},
            "rowData": [],
            # It keeps rows in plain objects, in which each has a `constructor`.
            ":getRowId": "(params) => params.data.id in {} ? `id ${params.data.id}` : params.data.id",
            "rowHeight": 32,
            "headerHeight": 34,
            "animateRows": False,
            "suppressNoRowsOverlay": True,
            "suppressFieldDotNotation": True,
            "includeHiddenColumnsInQuickFilter": True,
            "enableCellTextSelection": True,
            "ensureDomOrder": True,
            ":onCellKeyDown": _ENTER,
        }
        if on_choice is not None:
            options["rowSelection"] = {"mode": "multiRow", "enableClickSelection": True, "selectAll": "filtered"}
        self._grid = ui.aggrid(options, auto_size_columns=False).classes("grid")
        self._grid.props["aria-label"] = label
        if on_choice is not None:
            # The ids come with the event: asking for them would be a question that a busy browser answers too late.
            ids = f"() => emit(getElement({self._grid.id}).api.getSelectedRows().map((row) => row.id))"
            self._grid.on("selectionChanged", self._selection_changed, js_handler=ids)
            on_choice([])
        topic.listen(self._hear)

    def filter(self, text: str) -> None:
        self._grid.run_grid_method("setGridOption", "quickFilterText", text)

    @property
    def chosen(self) -> list[FlatRow]:
        """The rows that are selected, as they are by now."""
        return [self._rows[each] for each in self._selected if each in self._rows]

    def with_one(self, work: Callable[[FlatRow], Any]) -> Any:
        """What the work makes of the row that is selected; nothing where several are, or none is."""
        row = one_of(self.chosen)
        return None if row is None else work(row)

    def _selection_changed(self, event: Any) -> None:
        self._selected = [str(each) for each in event.args]
        self._tell_choice()

    def _tell_choice(self) -> None:
        if self._on_choice is not None:
            self._on_choice(self.chosen)

    def _hear(self, change: Change) -> bool:
        if self._grid.is_deleted:
            return False
        if not change.news:
            return True
        self._waiting.set_visibility(False)
        self._trouble.clear()
        if change.trouble:
            with self._trouble:
                say_trouble(RunError(change.trouble, change.advice))
            return True
        for row in (*change.added, *change.updated):
            self._rows[row["id"]] = row
        for key in change.removed:
            self._rows.pop(key, None)
        if change.added or change.updated or change.removed:
            transaction = {
                "add": list(change.added),
                "update": list(change.updated),
                "remove": [{"id": key} for key in change.removed],
                "addIndex": 0,
            }
            if len(change.added) == len(self._rows):
                self._grid.options["rowData"] = list(change.added)
                self._grid.update()
            else:
                self._grid.run_grid_method("applyTransaction", transaction)
        self._empty.set_visibility(not self._rows)
        self._grid.set_visibility(bool(self._rows))
        if self._on_change is not None:
            self._on_change(tuple(self._rows.values()))
        self._tell_choice()
        return True


def one_of(rows: Sequence[FlatRow]) -> FlatRow | None:
    """The row, where there is one and no other."""
    return rows[0] if len(rows) == 1 else None


def listed(
    topic: Topic[Any],
    columns: Sequence[Column],
    *,
    label: str,
    empty: Callable[[], None],
    command: str = "",
    count: Callable[[Sequence[FlatRow]], str] | None = None,
    on_choice: Callable[[list[FlatRow]], None] | None = None,
    **search: str,
) -> Grid:
    """A page's table: above it the filter, with these attributes, and the words of `count`; below it the command that
    lists the same."""
    with box("bar"):
        field = tag("input", type="search", aria_label="Filter", **{"placeholder": "Filter by any field", **search})
        counted = tag("span", "", "count") if count is not None else None

    def changed(rows: Sequence[FlatRow]) -> None:
        if count is not None and counted is not None:
            counted.set_text(count(rows))

    grid = Grid(topic, columns, label=label, empty=empty, on_choice=on_choice, on_change=changed)
    on_input(field, grid.filter)
    if command:
        command_line(command)
    return grid
