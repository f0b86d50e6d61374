"""The Python API: the words of the command line, with values instead of text. `skylift.aio` has the same for `await`.

Nothing is printed unless `progress=` says so. The program's bytes go to `stdout` and `stderr` where these are given;
steps and notes are log records of the logger `skylift`. Errors are raised as `SkyliftError`. A program that fails is
none, its outcome says so, unless `check=True`. Ctrl-C is SIGINT to the program, as on the command line.
"""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path
from typing import IO, Unpack

from skylift.client.errors import SkyliftError, UsageError
from skylift.client.job.outcome import JobFailed, Outcome
from skylift.client.job.run_options import OF_MAPS, OF_SCHEDULED_MAPS, MapOptions, RunOptions, ScheduledMapOptions
from skylift.client.jobs.listing import Listed
from skylift.client.remote.account import Account, open_account
from skylift.client.schedule.schedules import ListedSchedule
from skylift.python import mapping, scheduling, work
from skylift.python.given_stdin import GivenStdin, open_stdin
from skylift.python.keywords import spell_out
from skylift.python.lines import Pieces
from skylift.python.mapping import InputResult, MapInputs
from skylift.python.watching import Progress, Recorder
from skylift.python.wording import called
from skylift.python.work import FilePath, Ports, Since

__all__ = [
    "InputResult",
    "Job",
    "JobFailed",
    "Outcome",
    "RunOptions",
    "Schedule",
    "SkyliftError",
    "UsageError",
    "jobs",
    "map",
    "run",
    "schedule",
    "schedule_map",
    "schedules",
    "submit",
    "submit_map",
]


def run(
    script: FilePath | None = None,
    *arguments: FilePath,
    check: bool = False,
    stdin: GivenStdin = None,
    stdout: IO[bytes] | None = None,
    stderr: IO[bytes] | None = None,
    progress: Progress = False,
    forward: Ports = (),
    **options: Unpack[RunOptions],
) -> Outcome:
    """Run a program on a server of its own, bring its results home, and say how it went.

    `script` is a file, and `arguments` are its own; or else `module=` or `command=` says what to run. With `check`, an
    exit code that is not 0 raises JobFailed. `stdin` is what the program reads: bytes, a path, or an open binary file
    that has a descriptor; a pipe is sent as it comes. `stdout` and `stderr` are binary files that get the program's
    output as it comes; without them, the outcome has the end of each. `progress` is who wants to know how far it is: a
    function `(step, done, total)`, a class like tqdm's, or True for plain lines on standard error. `forward` is a port
    of this machine that leads to the server's (8888, or "8888:80"), or a list of them. The other options are those of
    `skylift.RunOptions`.
    """
    with (
        called("skylift.run()"),
        open_stdin("skylift.run()", stdin) as source,
        Recorder(stdout, stderr, progress=progress) as watcher,
    ):
        forwards = work.read_forwards(forward)
        planned, settings = work.plan("skylift.run()", script, arguments, options, source)
        outcome = watcher.with_tails(work.start_run(planned, settings, watcher, forwards, source).result())
    return outcome.check() if check else outcome


def submit(
    script: FilePath | None = None, *arguments: FilePath, stdin: GivenStdin = None, **options: Unpack[RunOptions]
) -> Job:
    """Start a program on a server of its own and leave it there: the job, as soon as its server has it.

    `script` is a file, and `arguments` are its own; or else `module=` or `command=` says what to run. `stdin` is as for
    `skylift.run`, and is sent to its end before there is a server. The other options are those of `skylift.RunOptions`.
    """
    with called("skylift.submit()"), open_stdin("skylift.submit()", stdin) as source:
        planned, settings = work.plan("skylift.submit()", script, arguments, options, source)
        taken = work.start_submission(planned, settings, Recorder(), source).result()
    if isinstance(taken, Outcome):
        raise KeyboardInterrupt
    return Job(taken.job.name, _account=taken.account)


def map(
    script: FilePath | None = None,
    inputs: MapInputs = (),
    *arguments: FilePath,
    ordered: bool = False,
    into: str = "out/{index}",
    **options: Unpack[MapOptions],
) -> Generator[InputResult, None, None]:
    """Run a program once for each of many inputs, and say what came of each: as they end, or with `ordered` in order.

    `inputs` is a file, a glob or a s3:// place; or several inputs, which are all files and objects that are there, or
    all values. In `arguments`, `{}` becomes the input; without one, it comes last. Each input's results are brought to
    its own folder, `into`, before it is told of. The map is started when the first outcome is asked for, and ended when
    the iterator is closed. An input that fails is no error; a map that ends before its inputs have is, also one that
    `halt` has ended: JobFailed, which says why, after all outcomes. `split`, `servers`, `per_server`, `batch` and
    `halt` are those of `skylift map`, as are the other options.

    `resume` is the name of a map that has ended, and runs its inputs that have no outcome; `retry_failed` those that
    have failed. Script and inputs are that map's then. The outcomes that it has are told of first.
    """
    with called("skylift.map()"):
        plan = mapping.plan("skylift.map()", script, inputs, arguments, options, into)
    return mapping.results(plan, ordered=ordered)


def submit_map(
    script: FilePath | None = None, inputs: MapInputs = (), *arguments: FilePath, **options: Unpack[MapOptions]
) -> Job:
    """Start a map and leave it there: the job, as soon as its server has it. The options are those of `skylift.map`."""
    with called("skylift.submit_map()"):
        plan = mapping.plan("skylift.submit_map()", script, inputs, arguments, options)
        taken = work.start_submission(plan.planned, plan.settings, Recorder(), None).result()
    if isinstance(taken, Outcome):
        raise KeyboardInterrupt
    return Job(taken.job.name, _account=taken.account)


def schedule(
    when: str,
    script: FilePath | None = None,
    *arguments: FilePath,
    timezone: str = "UTC",
    overlap: str = "skip",
    progress: Progress = False,
    **options: Unpack[RunOptions],
) -> Schedule:
    """Run a program at set times, each time on a server of its own: as `skylift schedule` does.

    `when` is `cron(...)`, `rate(...)` or `at(...)`, in the time zone `timezone`. `overlap` is what happens when a run
    is due while an earlier one still goes: `skip`, `queue` or `allow`. What runs is said as for `skylift.run`, and sent
    now, once. `name` is the schedule's."""
    with called("skylift.schedule()"), Recorder(progress=progress) as watcher:
        what = ("skylift.schedule()", when, script, arguments, options, timezone, overlap)
        planned = scheduling.plan(*what)
        if not scheduling.start(planned, watcher).result():
            raise KeyboardInterrupt
    return Schedule(planned.name, _account=open_account(planned.settings))


def schedule_map(
    when: str,
    script: FilePath | None = None,
    inputs: MapInputs = (),
    *arguments: FilePath,
    timezone: str = "UTC",
    overlap: str = "skip",
    progress: Progress = False,
    **options: Unpack[ScheduledMapOptions],
) -> Schedule:
    """Run a map at set times: as `skylift schedule WHEN -- map` does.

    `when`, `timezone` and `overlap` are as in `skylift.schedule`; `inputs` and what follows as in `skylift.map`. Files
    and values are those of now, and sent now, once. Each `s3://` place is looked up by each run. `name` is the
    schedule's."""
    with called("skylift.schedule_map()"), Recorder(progress=progress) as watcher:
        what = ("skylift.schedule_map()", when, script, inputs, arguments, options, timezone, overlap)
        planned = scheduling.plan_map(*what)
        if not scheduling.start(planned, watcher).result():
            raise KeyboardInterrupt
    return Schedule(planned.name, _account=open_account(planned.settings))


for _function in (run, submit, schedule):
    spell_out(_function)
for _mapping in (map, submit_map):
    spell_out(_mapping, OF_MAPS)
spell_out(schedule_map, OF_SCHEDULED_MAPS)


def jobs(*, all: bool = False, on: str | None = None) -> list[Listed]:
    """What `skylift ps` lists: jobs that have a server, and with `all` those that have ended."""
    with called("skylift.jobs()"):
        return work.listed(on, ended=all)


def schedules(*, on: str | None = None) -> list[ListedSchedule]:
    """What `skylift schedule ls` lists."""
    with called("skylift.schedules()"):
        return scheduling.listed(on)


class Schedule:
    """A schedule of this account. Raises UsageError where there is none of that name."""

    def __init__(self, name: str, *, on: str | None = None, _account: Account | None = None) -> None:
        self.name = name
        with called("skylift.Schedule()"):
            self._schedules = scheduling.known(name, on, _account)

    def __repr__(self) -> str:
        return f"skylift.Schedule({self.name!r})"

    def pause(self) -> None:
        """Start no runs until `resume`. A run that is going on ends as it would."""
        self._schedules.pause(self.name)

    def resume(self) -> None:
        """Go on. What was due meanwhile is not made up for."""
        self._schedules.resume(self.name)

    def run(self) -> str:
        """Start a run now, also of a paused schedule. Its name: it is a job once its server has reported."""
        return self._schedules.run_now(self.name)

    def history(self, last: int | None = None) -> list[Listed]:
        """Its runs, the newest first."""
        return self._schedules.history(self.name, last)

    def rm(self) -> None:
        """Remove it. What its runs have left stays, until it is removed as jobs are."""
        self._schedules.remove(self.name)


class Job:
    """A job of this account, whoever started it and wherever. Raises UsageError where there is none of that name."""

    def __init__(self, name: str, *, on: str | None = None, _account: Account | None = None) -> None:
        self.name = name
        with called("skylift.Job()"):
            self._account = _account or work.account_of(name, on)

    def __repr__(self) -> str:
        return f"skylift.Job({self.name!r})"

    @property
    def state(self) -> str:
        """As `skylift ps` shows it: starting, running, succeeded, failed, timed-out, cancelled, lost and so on."""
        return work.state(self._account, self.name)

    def wait(self, *, check: bool = False) -> Outcome:
        """Until it has ended: how it went. Results stay in S3; `results` brings them. With `check`, an exit code that
        is not 0 raises JobFailed."""
        outcome = work.start_waiting(self._account, self.name).result()
        return outcome.check() if check else outcome

    def attach(
        self,
        folder: FilePath = ".",
        *,
        check: bool = False,
        stdout: IO[bytes] | None = None,
        stderr: IO[bytes] | None = None,
        progress: Progress = False,
        forward: Ports = (),
    ) -> Outcome:
        """What `skylift.run` would have done from here on: the output from its first byte, and results to `folder`.
        Ctrl-C leaves the job running."""
        with called("skylift.Job.attach()"), Recorder(stdout, stderr, progress=progress) as watcher:
            forwards = work.read_forwards(forward)
            running = work.start_attending(self._account, self.name, folder, watcher, forwards)
            outcome = watcher.with_tails(running.result())
        return outcome.check() if check else outcome

    def logs(self, *, follow: bool = False, stderr: bool = False, since: Since = None) -> Generator[str, None, None]:
        """Standard output line by line, or standard error: what there is, or with `follow` also what comes until its
        end.

        Lines have no ends, and what is not UTF-8 in them is replaced. `since` is a time in seconds since the epoch, a
        time in ISO's form, or a duration back from now. Nothing is read before the first line is asked for, nor after
        the iterator has been closed.
        """
        pieces = Pieces()
        with called("skylift.Job.logs()"):
            reading = work.start_reading(self._account, self.name, pieces, follow=follow, stderr=stderr, since=since)
        try:
            yield from pieces.lines()
            reading.result()
        finally:
            pieces.close()
            reading.interrupt()

    def results(self, folder: FilePath = ".", *, progress: Progress = False) -> list[Path]:
        """Bring what it has left to `folder`: where each file is now. What is there already is not fetched again."""
        with Recorder(progress=progress) as watcher:
            return work.bring(self._account, self.name, folder, watcher)

    def cancel(self) -> str:
        """End it: SIGTERM, SIGKILL after 10 s, results to S3, then the server off. The word for what was done."""
        return work.cancel(self._account, self.name)

    def rm(self) -> None:
        """Forget it: its logs and results in S3, and its role. It must have ended."""
        work.remove(self._account, self.name)
