"""The user's --env values. They are in the job's prefix until the program has started, or until the job's end when the
program may start again: on a spot job's next server, after a failure (--retries), or on other servers of a map."""

from __future__ import annotations

import json
import threading
from typing import Dict, Optional

from skylift.agent.job.context import Context
from skylift.agent.job.outcome import Ended
from skylift.contract.record import JobRecord
from skylift.contract.states import State

KEY = "in/env.json"


class EnvValues:
    def __init__(self, context: Context, record: JobRecord) -> None:
        self._context, self._has_any = context, record.has_env
        # Another server of a map fetches them when it starts.
        self._needed_again = bool(record.succession or record.retry or record.group)

    def fetch(self) -> Dict[str, str]:
        if not self._has_any:
            return {}
        found = self._context.retry("environment values", lambda: self._context.source.get(KEY))
        if found is None:
            raise Ended(State.BROKEN, "The job's --env values are not in its prefix.")
        values: Dict[str, str] = json.loads(found)
        return values

    def forget(self) -> None:
        """Remove the values when the program has them, unless they are needed to start it again."""
        if not self._needed_again:
            threading.Thread(target=self.remove, daemon=True).start()

    def remove(self, until: Optional[float] = None) -> None:
        # A schedule's values are for the next run, too.
        if self._has_any and not self._context.is_scheduled:
            self._context.retry("removing --env values", lambda: self._context.prefix.delete(KEY), until)
