"""skylift runs any Python program on its own EC2 server and brings the results home.

    import skylift

    outcome = skylift.run("job.py", "--fast", out="report.csv")
    outcome.exit_code, outcome.stdout_tail, outcome.paths

    job = skylift.submit("job.py", type="m7i.xlarge", max_time="6h")
    job.wait().exit_code

The words are those of the command line; see `skylift.run` and `skylift.Job`.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from skylift.version import __version__

__all__ = [
    "Cluster",
    "InputResult",
    "Job",
    "JobFailed",
    "Outcome",
    "RunOptions",
    "Schedule",
    "SkyliftError",
    "UsageError",
    "__version__",
    "aio",
    "jobs",
    "map",
    "run",
    "schedule",
    "schedule_map",
    "schedules",
    "submit",
    "submit_map",
]

if TYPE_CHECKING:
    from skylift import aio
    from skylift.api import (
        InputResult,
        Job,
        JobFailed,
        Outcome,
        RunOptions,
        Schedule,
        SkyliftError,
        UsageError,
        jobs,
        map,
        run,
        schedule,
        schedule_map,
        schedules,
        submit,
        submit_map,
    )
    from skylift.python.cluster.cluster import Cluster

else:
    # Type checkers do not see it: a name that is not there is an error to them.
    def __getattr__(name: str) -> Any:
        """What is asked for is imported then: the command line must not wait for what it does not need."""
        if name not in __all__:
            raise AttributeError(f"module 'skylift' has no attribute {name!r}")
        if name == "aio":
            return import_module("skylift.aio")
        if name == "Cluster":
            return import_module("skylift.python.cluster.cluster").Cluster
        return getattr(import_module("skylift.api"), name)
