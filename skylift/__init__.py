"""skylift runs any Python program on its own EC2 server and brings the results home.

    import skylift

    outcome = skylift.run("job.py", args=["--fast"], out=["report.csv"])
    outcome.exit_code, outcome.stdout_tail, outcome.paths

    job = skylift.submit("job.py", type="m7i.xlarge", max_time="6h")
    job.wait().exit_code

The words are those of the command line; see `skylift.run` and `skylift.Job`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from skylift.version import __version__

__all__ = ["Job", "Outcome", "SkyliftError", "UsageError", "__version__", "jobs", "run", "submit"]

if TYPE_CHECKING:
    from skylift.api import Job, Outcome, SkyliftError, UsageError, jobs, run, submit

else:
    # Type checkers do not see it: a name that is not there is an error to them.
    def __getattr__(name: str) -> Any:
        """What is asked for is imported then: the command line must not wait for what it does not need."""
        if name not in __all__:
            raise AttributeError(f"module 'skylift' has no attribute {name!r}")
        from skylift import api  # noqa: PLC0415

        return getattr(api, name)
