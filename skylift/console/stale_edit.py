"""A page may be older than what somebody else has made of a thing since: it is looked at again before it is changed."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

from skylift.client.errors import RunError, SkyliftError


class StaleEdit(RunError):
    """Somebody has changed what the page shows, or taken it away. `now` is what there is of it, in words."""

    def __init__(self, what: str, now: str) -> None:
        advice = f"It is now: {now}." if now else "It is no longer there."
        super().__init__(f"{what} is not what this page has shown: somebody has changed it meanwhile.", advice)


class StaleTextEdit(StaleEdit):
    """The same of a text, which is too long for a sentence: the page shows `now` below. It is empty where none is."""

    def __init__(self, what: str, now: str) -> None:
        super().__init__(what, now)
        self.now = now
        self.advice = (
            "What it is now stands below. Save again, and yours takes its place."
            if now
            else "It is no longer there. Save again, and yours is made."
        )


class EditedText:
    """A text that somebody edits, as they have seen it last: what they have not seen is not overwritten. `read` asks
    for it as it is now, and answers nothing where there is none."""

    def __init__(self, what: str, seen: str, read: Callable[[], str]) -> None:
        self._what, self._seen, self._read = what, {seen}, read

    def replace(self, text: str, save: Callable[[], object]) -> None:
        """In a thread. Raises StaleTextEdit, once for each change: whoever is told has seen it."""
        now = self._read()
        if now not in self._seen:
            self._seen = {now}
            raise StaleTextEdit(self._what, now)
        save()
        self._seen = {text}
        # IAM may have another form of it (an account's ARN for its number), and may still answer what was there before.
        with suppress(SkyliftError):
            self._seen.add(self._read())
