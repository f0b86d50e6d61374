"""`skylift cancel`: end a job, its server and its role."""

from __future__ import annotations

from functools import partial

import typer

from skylift.cli.place import JobNames, On, settings_there
from skylift.cli.say import say, say_at_once


def register(app: typer.Typer) -> None:
    app.command("cancel")(cancel)


def cancel(
    names: JobNames,
    on: On = None,
) -> None:
    """End jobs, keep their results, and turn their servers off.

    The program gets SIGTERM, and SIGKILL after 10 s. Results go to S3 before the server is turned off. A second Ctrl-C
    does not wait for them.
    """
    from skylift.cli.insist import Insist
    from skylift.cli.screen import show_error
    from skylift.runner.errors import SkyliftError
    from skylift.runner.jobs.jobs import Jobs

    code = 0
    try:
        jobs = Jobs(settings_there(on))
        with Insist() as insist:
            for name in names:
                try:
                    say_at_once(f"{name}: {jobs.cancel(name, partial(_tell, name), insist.at_once)}")
                except SkyliftError as error:
                    show_error(error)
                    code = error.exit_code
    except SkyliftError as error:
        show_error(error)
        code = error.exit_code
    raise typer.Exit(code)


def _tell(name: str, words: str) -> None:
    say(f"{name}: {words}", to_stderr=True)
