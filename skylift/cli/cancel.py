"""`skylift cancel`: end a job, its server and its role."""

from __future__ import annotations

import typer

from skylift.cli.place import JobNames, On, account_there, job_called
from skylift.cli.say import say, say_each


def register(app: typer.Typer) -> None:
    app.command("cancel")(cancel)


def cancel(names: JobNames, on: On = None) -> None:
    """End jobs, keep their results, and turn their servers off.

    The program gets SIGTERM, and SIGKILL after 10 s. Results go to S3 before the server is turned off. A second Ctrl-C
    does not wait for them.
    """
    from skylift.cli.second_interrupt import SecondInterrupt
    from skylift.client.jobs.jobs import Jobs

    def end(name: str) -> str:
        return jobs.cancel(name, lambda words: say(f"{name}: {words}", to_stderr=True), insist.at_once)

    account = account_there(on)
    jobs = Jobs(account.settings, account)
    with SecondInterrupt() as insist:
        code = say_each(names, end, lambda name: job_called(account, name))
    raise typer.Exit(code)
