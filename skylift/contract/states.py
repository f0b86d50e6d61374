"""The states that a job can be in, as the server, `skylift ps` and an outcome say them."""

from enum import Enum


class State(str, Enum):
    """A state is a word, and may be compared with one. They stand in the order in which a job has them."""

    STARTING = "starting"
    BOOTING = "booting"
    UNPACKING = "unpacking"
    ENVIRONMENT = "environment"
    RUNNING = "running"
    UPLOADING = "uploading"
    INTERRUPTED = "interrupted"
    WAITING = "waiting"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    OUT_OF_MEMORY = "out-of-memory"
    TIMED_OUT = "timed-out"
    IDLE = "idle"
    CANCELLED = "cancelled"
    SKIPPED = "skipped"
    REBOOTED = "rebooted"
    ENVIRONMENT_FAILED = "environment-failed"
    BROKEN = "broken"
    LOST = "lost"
    STRANDED = "stranded"
    DAMAGED = "damaged"
    DETACHED = "detached"
    NOT_STARTED = "not-started"

    def __str__(self) -> str:
        return str(self.value)


_STATES = tuple(State)
UNDER_WAY = _STATES[_STATES.index(State.BOOTING) : _STATES.index(State.WAITING)]
"""The states that a server reports before the job's end."""
ENDED = _STATES[_STATES.index(State.SUCCEEDED) : _STATES.index(State.LOST)]
"""The states that a server reports at the end."""
LISTED = (State.STARTING, *UNDER_WAY, State.WAITING, *ENDED, State.LOST, State.STRANDED, State.DAMAGED)
"""What `skylift ps` says: `starting` before the server has a word, `waiting` for another server of a spot job, `lost`
without a server and without an end, `stranded` with results on a stopped server's disk, `damaged` with a record that
cannot be read. An outcome may also be `detached`: left running. The history of a schedule has runs that were
`not-started`, too: they are no jobs."""
