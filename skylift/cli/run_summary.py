"""The last lines of a run: how it ended, what is wrong with it, and what it cost."""

from __future__ import annotations

import time
from collections import Counter
from typing import TYPE_CHECKING

from skylift.client.text.duration import moment, spell_duration, spell_rest

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from skylift.client.job.outcome import Missing, Outcome

_MARKS = {"succeeded": "✓", "cancelled": "■"}


_SHOWN = 4
"""Results, or folders of them, that are named."""

_LONGEST = 200
"""Characters of a path that are shown."""


def summary(outcome: Outcome, now: float | None = None, arguments: Sequence[str] = ()) -> list[str]:
    """One line, then what went wrong, then the price. `now` is in seconds since the epoch, `arguments` are the
    program's own."""
    if outcome.state == "detached":
        name = outcome.name
        return [f"■ Left running. `skylift attach {name}` watches it again, `skylift cancel {name}` ends it."]
    lines = [_head(outcome), *troubles(outcome)]
    if outcome.left_behind:
        names = ", ".join(map(_in_short, outcome.left_behind[:5]))
        lines.append(f"New on the server, but not asked for with --out: {names}.{_misplaced(arguments)}")
    if outcome.price is not None and (price := outcome.price.in_short()):
        lines.append(price)
    if outcome.kept_until:
        left = spell_rest(moment(outcome.kept_until) - (time.time() if now is None else now))
        name = outcome.name
        lines.append(f"The server stays {left}: `skylift ssh {name}`. `run --reuse {name}` empties and uses it.")
    return lines


def _head(outcome: Outcome) -> str:
    head = f"{_MARKS.get(outcome.state, '✗')} {outcome.name}: exit code {outcome.exit_code}"
    if outcome.state != "succeeded":
        head += f" ({outcome.state})"
    spent = outcome.seconds or outcome.program_seconds
    after = [f"{len(outcome.tries)} attempts"] if len(outcome.tries) > 1 else []
    after += [spell_duration(spent)] if spent is not None else []
    head += f" after {', '.join(after)}" if after else ""
    if "check" in outcome.steps and outcome.watched_seconds > (spent or 0):
        head += f" ({spell_duration(outcome.watched_seconds)} in all)"
    if outcome.results:
        head += f"; results: {_spell_results([each.path for each in outcome.results])}"
    return head


def _spell_results(paths: Sequence[str]) -> str:
    """All of a few files; of many the folders that they are in, with how many each has."""
    if len(paths) <= _SHOWN:
        return ", ".join(map(_in_short, paths))
    folders = Counter(path.split("/", 1)[0] for path in paths if "/" in path)
    named = [f"{folder}/ ({count} {'file' if count == 1 else 'files'})" for folder, count in folders.items()]
    files = [path for path in paths if "/" not in path]
    shown = (named + files)[:_SHOWN]
    counted = sum(list(folders.values())[:_SHOWN]) + max(0, len(shown) - len(named))
    return ", ".join(shown) + (f" and {len(paths) - counted} more" if counted < len(paths) else "")


def _misplaced(arguments: Sequence[str]) -> str:
    found = [each for each in arguments if each.split("=", 1)[0] in ("-o", "--out")]
    return f" What stands behind the script, like {found[0]}, is the program's own." if found else ""


def troubles(outcome: Outcome) -> list[str]:
    """Failures that the program itself did not report. They are shown with `--quiet` too."""
    lines = []
    if outcome.state not in {"succeeded", "failed", "detached"} or outcome.signal or _never_began(outcome):
        lines.append(outcome.reason)
    if outcome.detail:
        lines += outcome.detail.rstrip("\n").split("\n")
    lines += [f"Nothing matched --out {pattern}." for pattern in outcome.unmatched]
    if outcome.not_written:
        lines.append(spell_not_written(outcome.not_written))
    return lines + spell_missing(outcome.missing, outcome.changed)


def _never_began(outcome: Outcome) -> bool:
    """Whether the program could not be started, so that only skylift can say why."""
    return outcome.state == "failed" and outcome.program_seconds is None


def spell_not_written(paths: Sequence[str]) -> str:
    return f"Sent by the server, but not asked for with --out, so not written here: {_first_of(map(_in_short, paths))}."


def spell_missing(missing: Sequence[Missing], changed: Sequence[str]) -> list[str]:
    lines = []
    if missing:
        named = _first_of(f"{_in_short(each.path)} ({each.reason})" for each in missing)
        lines.append(f"Results that did not come home: {named}.")
    if changed:
        lines.append(f"Changed while they were read, so perhaps not whole: {_first_of(map(_in_short, changed))}.")
    return lines


def _first_of(names: Iterable[str]) -> str:
    shown = list(names)
    return ", ".join(shown[:5]) + (f" and {len(shown) - 5} more" if len(shown) > 5 else "")


def _in_short(path: str) -> str:
    """A path of a usual length as it is. A program can nest folders so deep that one path would fill the terminal."""
    return path if len(path) <= _LONGEST else f"{path[: _LONGEST // 2]}…{path[-_LONGEST // 2 :]}"
