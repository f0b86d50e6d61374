"""Looks at each alarm's metric, sets its state, and starts the alarm's actions.

A state and its actions are one transaction, and so are an action and the note that it is done. After a kill at any
point the next start does the rest, and does nothing twice.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from functools import partial

from skylift.cloud.domain.alarm import Alarm, DueAction
from skylift.cloud.domain.error import ServiceError
from skylift.cloud.domain.metric import Point, WantedSummaries
from skylift.cloud.loops.cloudwatch.evaluation import Verdict, evaluate, evaluation_range
from skylift.cloud.loops.guard import guarded
from skylift.cloud.loops.ticker import TICK
from skylift.cloud.store.alarm import ask_for, change_state, note
from skylift.cloud.store.database import Database, Tx
from skylift.cloud.store.metric import summaries

log = logging.getLogger(__name__)

MINUTE = 60

Act = Callable[[Tx, Alarm, DueAction], str]
"""Carries an action out and returns a description of the result. Raises ServiceError if the action is impossible."""


class AlarmLoop:
    """`act` knows what the ARN of an action means. `changed` wakes the loop that calls `act`, and then the loops that
    carry out what `act` writes."""

    def __init__(self, database: Database, act: Act, changed: Callable[[], None]) -> None:
        self._database = database
        self._act = act
        self._changed = changed
        self._minute: int | None = None

    def step(self) -> None:
        """Evaluates the alarms that are due: at each tick, or, with whole-minute periods, at a minute's first tick."""
        with self._database.read() as tx:
            minute = int(tx.now.timestamp()) // MINUTE
            due = [alarm for alarm in tx.find(Alarm) if alarm.period < MINUTE or minute != self._minute]
            # Most keep their state, and a read blocks no writer.
            moved = [alarm.name for alarm in due if guarded(f"alarm {alarm.name}", partial(self._moves, tx, alarm))]
        done = [guarded(f"alarm {name}", partial(self._move, name)) for name in moved]
        self._minute = minute
        if any(done):
            self._changed()

    def act(self) -> None:
        """Carries out the actions that are due, one after the other."""
        with self._database.read() as tx:
            due = tx.find(DueAction)
        for action in due:
            guarded(f"alarm {action.alarm}: {action.arn}", partial(self._carry_out, action))

    def _carry_out(self, action: DueAction) -> None:
        try:
            with self._database.write() as tx:
                alarm = _take_alarm(tx, action)
                if alarm is not None:
                    reported = self._act(tx, alarm, action)
                    _note_action(tx, action, f"Successfully executed action {action.arn}", reported)
        except ServiceError as error:
            # Nothing of it was done, so it is still due.
            log.info("alarm %s: %s: %s", action.alarm, action.arn, error)
            with self._database.write() as tx:
                if _take_alarm(tx, action) is not None:
                    _note_action(tx, action, f"Failed to execute action {action.arn}", error=error.message)

    def _moves(self, tx: Tx, alarm: Alarm) -> bool:
        return _verdict(tx, alarm).state not in (None, alarm.state) or _asks_again(tx, alarm)

    def _move(self, name: str) -> bool:
        with self._database.write() as tx:
            alarm = tx.get(Alarm, name=name)
            if alarm is not None:
                self._move_one(tx, alarm)
        return True

    def _move_one(self, tx: Tx, alarm: Alarm) -> None:
        verdict = _verdict(tx, alarm)
        if verdict.state is not None and verdict.state != alarm.state:
            change_state(tx, alarm, verdict.state, verdict.reason, verdict.data, verdict.value)
            log.info("alarm %s: %s: %s", alarm.name, verdict.state, verdict.reason)
        elif _asks_again(tx, alarm):
            ask_for(tx, alarm, _scaling(alarm), verdict.value)
            tx.save(replace(alarm, acted=tx.now))


def _verdict(tx: Tx, alarm: Alarm) -> Verdict:
    """Judges the periods that are over. The newest one ends at a multiple of its length, as metrics do."""
    now = int(tx.now.timestamp())
    end = now - now % alarm.period
    start = end - evaluation_range(alarm) * alarm.period
    found: dict[int, Point] = {}
    for point in summaries(tx, WantedSummaries(alarm.metric, start, end, alarm.period, alarm.unit)):
        known = found.get(point.at)
        found[point.at] = point if known is None else replace(point, summary=known.summary + point.summary)
    points = [found.get(start + number * alarm.period) for number in range(evaluation_range(alarm))]
    return evaluate(alarm, points, tx.now)


def _asks_again(tx: Tx, alarm: Alarm) -> bool:
    """Actions of Auto Scaling are invoked each minute for as long as the state lasts.

    Counted by the clock: a look that is a few milliseconds sooner than the last one was would let a minute go by.
    """
    if alarm.acted is None or not _scaling(alarm):
        return False
    unit = TICK if alarm.period < MINUTE else MINUTE
    return _begun(tx.now, unit) - _begun(alarm.acted, unit) >= MINUTE


def _begun(moment: datetime, unit: int) -> int:
    second = int(moment.timestamp())
    return second - second % unit


def _scaling(alarm: Alarm) -> list[str]:
    return [arn for arn in alarm.actions(alarm.state) if arn.startswith("arn:aws:autoscaling:")]


def _take_alarm(tx: Tx, action: DueAction) -> Alarm | None:
    """Take an action off the queue. Returns its alarm, or None where the action or the alarm is gone."""
    if tx.get(DueAction, number=action.number) is None:
        return None
    tx.remove(action)
    return tx.get(Alarm, name=action.alarm)


def _note_action(tx: Tx, action: DueAction, summary: str, reported: str = "", error: str | None = None) -> None:
    content = {
        "actionState": "Succeeded" if error is None else "Failed",
        "stateUpdateTimestamp": int(action.asked.timestamp() * 1000),
        "notificationResource": action.arn,
        "publishedMessage": reported or None,
        "error": error,
    }
    note(tx, action.alarm, "Action", summary[:255], json.dumps(content)[:4095])
