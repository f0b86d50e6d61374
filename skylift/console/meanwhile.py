"""A page may be older than what somebody else has made of a rule since: it is looked at again before it is changed."""

from __future__ import annotations

from skylift.runner.errors import RunError


class ChangedMeanwhile(RunError):
    """Somebody has changed what the page shows, or taken it away. `now` is what there is of it, in words."""

    def __init__(self, what: str, now: str) -> None:
        advice = f"It is now: {now}." if now else "It is no longer there."
        super().__init__(f"{what} is not what this page has shown: somebody has changed it meanwhile.", advice)
