"""`skylift`, with every call to AWS written down, and with SIGKILL right after one of them.

    python tests/support/mortal_client.py CALLS LAST ARGUMENTS...

Appends to the file CALLS a line for each call as it ends, answered or refused: `iam.CreateRole#1` for the first of its
kind. Right after the first that is in LAST, some of these with commas between, the process is killed as by `kill -9`.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections import Counter
from pathlib import Path
from typing import Any

from botocore.client import BaseClient

from skylift.cli.main import main


def _mark(calls: Path, last: frozenset[str]) -> None:
    whole: Any = BaseClient._make_api_call  # type: ignore[attr-defined]
    seen: Counter[str] = Counter()
    # The call too, not only the note of it: else one that is made beside the last is done, and nobody knows of it.
    one_at_a_time = threading.RLock()

    def marked(client: Any, operation: str, params: Any) -> Any:
        with one_at_a_time:
            try:
                return whole(client, operation, params)
            finally:
                kind = f"{client.meta.service_model.service_name}.{operation}"
                seen[kind] += 1
                call = f"{kind}#{seen[kind]}"
                with calls.open("a") as file:
                    file.write(f"{call}\n")
                if call in last:
                    os.kill(os.getpid(), signal.SIGKILL)

    BaseClient._make_api_call = marked  # type: ignore[attr-defined]


if __name__ == "__main__":
    _mark(Path(sys.argv[1]), frozenset(sys.argv[2].split(",")))
    sys.argv[1:] = sys.argv[3:]
    main()
