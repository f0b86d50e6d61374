"""How an instance comes up that was launched a moment ago: until it runs, and SSH answers.

The page's address says `?launched=now` until then, so that a page which is loaded again meanwhile shows it, too.
"""

from __future__ import annotations

import asyncio

from skylift.client.errors import RunError
from skylift.console.cloud_view import CloudView
from skylift.console.poller import Change, FlatRow
from skylift.console.shell import reach_ssh
from skylift.console.widgets.element import forget_query, tag
from skylift.console.widgets.tabs import in_background, in_thread

_LAUNCHED, _RUNS, _ANSWERS = range(3)
_WORDS = ("It is launched", "It runs", "SSH answers")
_PATIENCE, _PAUSE = 240.0, 2.0
"""Seconds in which SSH answers on AWS, where a boot takes a minute or two, and between two tries."""


class ComingUp:
    """A list of steps."""

    def __init__(self, view: CloudView, instance: str) -> None:
        self._id = instance
        with tag("ol", "", "steps", aria_label="Progress", aria_live="polite"):
            self._lines = [tag("li", words, "step") for words in _WORDS]
        self._mark(_LAUNCHED, "done")
        self._mark(_RUNS, "doing")
        view.instances.listen(self._hear)

    def _hear(self, change: Change) -> bool:
        if self._lines[0].is_deleted:
            return False
        for row in (*change.added, *change.updated):
            if row["id"] == self._id:
                return self._see(row)
        return True

    def _see(self, row: FlatRow) -> bool:
        """Whether there is more to come from the list."""
        if row["state"] == "pending":
            return True
        if row["state"] != "running":
            self._mark(_RUNS, "failed", f"It is {row['state']}: its details say why.")
            self._end()
            return False
        self._mark(_RUNS, "done")
        if row["public"]:
            self._mark(_ANSWERS, "doing")
            in_background(self._reach(row["public"]))
        else:
            self._mark(_ANSWERS, "none", "It has no public address: SSH gets there from its VPC only.")
            self._end()
        return False

    async def _reach(self, address: str) -> None:
        until = asyncio.get_running_loop().time() + _PATIENCE
        while not self._lines[0].is_deleted:
            try:
                await in_thread(reach_ssh, address)
            except RunError as error:
                over = asyncio.get_running_loop().time() > until
                self._mark(_ANSWERS, "failed" if over else "doing", f"{error.message} {error.advice}")
                if over:
                    self._end()
                    return
                await asyncio.sleep(_PAUSE)
            else:
                self._mark(_ANSWERS, "done")
                self._end()
                return

    def _end(self) -> None:
        """Whoever loads the page later, or has it as a bookmark, asks for the instance and not for its beginning."""
        if self._lines[0].is_deleted:
            return
        # Nobody has clicked: which tab is meant, its own element says.
        with self._lines[0]:
            forget_query(f"/instances/{self._id}", "launched")

    def _mark(self, number: int, state: str, words: str = "") -> None:
        if self._lines[number].is_deleted:
            return
        self._lines[number].set_text(words or _WORDS[number])
        self._lines[number].classes(replace=f"step step-{state}")
