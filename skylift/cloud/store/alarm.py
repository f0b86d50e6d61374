"""Where alarms are kept, with what happened to them and what they still ask for."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime, timedelta

from skylift.cloud.domain.alarm import Alarm, AlarmState, DueAction, HistoryItem, HistoryKind
from skylift.cloud.store.database import Tx
from skylift.cloud.store.mapping import table

table(Alarm, "alarms", key=("name",))
table(HistoryItem, "alarm_history", key=("number",))
table(DueAction, "alarm_actions", key=("number",))

REMEMBERED = timedelta(days=30)
"""CloudWatch keeps the history of an alarm for this long."""
MOST_REMEMBERED = 100_000
LONGEST = 4095
"""The most characters of the data of one history item."""


def note(tx: Tx, alarm: str, kind: HistoryKind, summary: str, data: str) -> None:
    tx.add(HistoryItem(_next(tx, "alarm_history"), alarm, tx.now, kind, summary, data))


def ask_for(tx: Tx, alarm: Alarm, arns: Iterable[str], value: float | None) -> None:
    """Adds due actions, which the loop carries out, also after a restart."""
    for arn in arns:
        tx.add(DueAction(_next(tx, "alarm_actions"), alarm.name, arn, alarm.state, tx.now, value))


def change_state(
    tx: Tx, alarm: Alarm, state: AlarmState, reason: str, reason_data: str | None, value: float | None = None
) -> Alarm:
    """Set the state, and ask for its actions where it is another one than before."""
    changed = replace(alarm, state=state, reason=reason, reason_data=reason_data, updated=tx.now)
    if state != alarm.state:
        changed = replace(changed, transitioned=tx.now, acted=tx.now)
        ask_for(tx, changed, changed.actions(state), value)
        summary = f"Alarm updated from {alarm.state} to {changed.state}"
        note(tx, alarm.name, "StateUpdate", summary, _between(alarm, changed))
    tx.save(changed)
    return changed


def _between(before: Alarm, after: Alarm) -> str:
    """Both states, with what they were found by as far as there is room."""
    short = {"version": "1.0", "oldState": _state_of(before), "newState": _state_of(after)}
    whole = {**short, "newState": {**_state_of(after), "stateReasonData": json.loads(after.reason_data or "null")}}
    text = json.dumps(whole)
    return text if len(text) <= LONGEST else json.dumps(short)


def _state_of(alarm: Alarm) -> dict[str, str]:
    return {"stateValue": alarm.state, "stateReason": alarm.reason}


def forget_history(tx: Tx) -> bool:
    old = (tx.now - REMEMBERED).isoformat()
    (last,) = tx.execute("SELECT coalesce(max(number), 0) FROM alarm_history").fetchone()
    return tx.forget(HistoryItem, "at < ? OR number <= ?", old, last - MOST_REMEMBERED)


def history(
    tx: Tx, alarm: str | None, kind: str | None, between: tuple[datetime | None, datetime | None]
) -> list[HistoryItem]:
    """The history in order of time."""
    named = {"alarm": alarm, "kind": kind}
    items = tx.find(HistoryItem, **{column: value for column, value in named.items() if value is not None})
    start, end = between
    return [one for one in items if (start is None or one.at >= start) and (end is None or one.at <= end)]


def _next(tx: Tx, name: str) -> int:
    (last,) = tx.execute(f"SELECT coalesce(max(number), 0) FROM {name}").fetchone()  # noqa: S608 - a name of ours
    return int(last) + 1
