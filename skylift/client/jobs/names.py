"""Which job a user means: by its name, by the beginning of a name that no other job's has, or by `-`."""

from __future__ import annotations

import difflib
import re
from pathlib import Path

from skylift.client.errors import JobNotFound, UsageError
from skylift.client.job.job import NAME_FORM
from skylift.client.job.last_job import last_job
from skylift.client.launch.server import live_servers
from skylift.client.remote.account import Account

LAST = "-"
_BEGINNING_FORM = re.compile(r"[a-z0-9][a-z0-9-]*")
_SHOWN = 5


def find_job_name(account: Account, asked: str, *, whole: bool = False) -> str:
    """The job's whole name. With `whole`, nothing but that is taken, for what cannot be undone. Raises JobNotFound, and
    UsageError where several jobs' names begin so."""
    if asked == LAST and not whole:
        found = last_job(account.settings, Path.cwd())
        if found is None:
            raise JobNotFound("No job was started from this folder.", "See `skylift ps --all`.")
        return found
    # A schedule's run may have no record of its own, and a job whose record was removed may have a server.
    names = account.recorded(asked) if _BEGINNING_FORM.fullmatch(asked) else []
    if asked in names:
        return asked
    if not whole and names:
        if len(names) == 1:
            return names[0]
        more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
        raise UsageError(f"{len(names)} jobs begin with {asked!r}.", f"{', '.join(names[:_SHOWN])}{more}")
    if NAME_FORM.fullmatch(asked) and (live_servers(account.api, asked) or account.has_record(asked)):
        return asked
    near = names or difflib.get_close_matches(asked, account.recorded(), n=3, cutoff=0.6)
    advice = f"Did you mean {' or '.join(near[:3])}?" if near else "See `skylift ps --all`."
    raise JobNotFound(f"There is no job called {asked!r}.", advice)
