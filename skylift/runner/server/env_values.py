"""The user's --env values. They are in the job's prefix until the program has started, or until a spot job's end."""

from __future__ import annotations

import json
import threading
from typing import Dict, Optional

from skylift.runner.server.context import Context
from skylift.runner.server.job_record import JobRecord
from skylift.runner.server.outcome import Ended
from skylift.runner.server.status import State

KEY = "in/env.json"


class EnvValues:
    def __init__(self, context: Context, record: JobRecord) -> None:
        self._context, self._has_any, self._is_spot = context, record.has_env, record.spot is not None

    def fetch(self) -> Dict[str, str]:
        if not self._has_any:
            return {}
        found = self._context.retry("environment values", lambda: self._context.prefix.get(KEY))
        if found is None:
            raise Ended(State.BROKEN, "The job's --env values are not in its prefix.")
        values: Dict[str, str] = json.loads(found)
        return values

    def forget(self) -> None:
        """Remove the values when the program has them. A spot job's next server needs them, so they stay for it."""
        if not self._is_spot:
            threading.Thread(target=self.remove, daemon=True).start()

    def remove(self, until: Optional[float] = None) -> None:
        if self._has_any:
            self._context.retry("removing --env values", lambda: self._context.prefix.delete(KEY), until)
