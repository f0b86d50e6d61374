"""`skylift`: the command line whole. The only place that turns exceptions into messages and exit codes.

0        done
1        the answer is no (doctor, cloud status)
2        something is wrong with what was asked for, or where; nothing was started
123      an environment could not be made, from `skylift run`
125      skylift itself failed
130      Ctrl-C
other    the program's own, from `skylift run`
"""

from __future__ import annotations

import gc
import importlib
import io
import os
import sys
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

from skylift.cli.early import COMPLETE, early_answer, line_words
from skylift.cli.say import drop_output, say, say_text, say_to_shell, say_trouble
from skylift.client.errors import SKYLIFT_FAILED, USAGE, Outside, SkyliftError, UsageError
from skylift.version import __version__

if TYPE_CHECKING:
    import typer

INTERRUPTED = 130
READER_GONE = 141  # what a shell says of a program that SIGPIPE ended

COMMANDS = {
    "run": "run",
    "map": "map",
    "map-results": "map",
    "types": "types",
    "price": "price",
    "ps": "ps",
    "top": "top",
    "attach": "attend",
    "wait": "attend",
    "logs": "logs",
    "results": "results",
    "rm": "results",
    "ssh": "ssh",
    "cp": "cp",
    "cancel": "cancel",
    "sweep": "sweep",
    "console": "console",
    "setup": "setup",
    "doctor": "doctor",
    "image": "image",
    "schedule": "schedule",
    "cluster": "cluster",
    "cloud": "cloud",
}
"""Each command and its file, in the order of the help."""

_SCRIPTS = ("--show-completion", "--install-completion")


def make_app(word: str = "") -> typer.Typer:
    """With a command's name, all that is needed for this one: the others take longer to import than it takes to run.
    For a completion script none is."""
    import typer

    def show_version(wanted: bool) -> None:
        if wanted:
            say(f"skylift {__version__}")
            raise typer.Exit

    app = typer.Typer(
        help="Run any Python program on its own EC2 server with one command, and bring the results home.",
        no_args_is_help=True,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )

    @app.callback()
    def skylift(
        version: bool = typer.Option(
            False, "--version", help="Show the version and exit.", callback=show_version, is_eager=True
        ),
    ) -> None:
        pass

    files = [COMMANDS[word]] if word in COMMANDS else [] if word in _SCRIPTS else COMMANDS.values()
    for file in dict.fromkeys(files):
        importlib.import_module(f"skylift.cli.{file}").register(app)
    return app


def main() -> None:
    """The entry point."""
    # What is imported lives until the end: looking through it for what does not costs a twentieth of a short command.
    gc.set_threshold(200_000, 20, 20)
    _write_all_letters()
    code = _written_out(perform(sys.argv[1:]))
    # Python remembers that Ctrl-C struck while text was run, which makes every dataclass, and `python -m` then ends by
    # the signal instead of with our exit code. The next text that is run makes it forget.
    exec("")  # noqa: S102 - nothing of anybody's
    sys.exit(code)


def _written_out(code: int) -> int:
    """What is short goes into a pipe or a file only now. The command's own exit code matters more than its reader."""
    try:
        if sys.stdout is not None:
            sys.stdout.flush()
    except BrokenPipeError:
        drop_output()
        return code or READER_GONE
    except OSError as error:
        drop_output()
        return code or _tell(f"standard output cannot be written: {error.strerror}.", "", SKYLIFT_FAILED)
    return code


def perform(arguments: list[str]) -> int:
    """Carry out a command line and return the exit code; messages go to standard error."""
    try:
        return _invoke(arguments)
    except SkyliftError as error:
        if isinstance(error, Outside):
            # It was started a moment ago.
            _enter()
        return _tell(error.message, error.advice, error.exit_code)
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        # Whoever read our output has gone (`| head`).
        drop_output()
        return READER_GONE
    except Exception as error:  # noqa: BLE001 - the promise about exit codes holds for our own mistakes too
        if isinstance(error.__cause__, KeyboardInterrupt):
            # Python 3.11 makes a RuntimeError of Ctrl-C while it makes a class, as when a module is imported.
            return INTERRUPTED
        import traceback

        say_text("".join(traceback.format_exception(error)), to_stderr=True)
        return _tell("this is a mistake in skylift itself; the lines above say where.", "", SKYLIFT_FAILED)


def _invoke(arguments: list[str]) -> int:
    if early := early_answer(arguments, os.environ):
        say_to_shell(early[0])
        return early[1]
    _require_working_directory()
    word = _first_word(arguments)
    # These start a cloud, and would only then be begun anew: with what has been read, and said, before.
    _enter(make=_starts_here(word, arguments) and COMPLETE not in os.environ)
    if word.endswith(".py") and COMPLETE not in os.environ:
        import shlex

        script = shlex.quote(f"./{word}" if word.startswith("-") else word)
        raise UsageError(f"{word} is not a command of skylift.", f"To run it: skylift run {script}")
    import typer

    # typer has its own copy of click or click itself, by version, and exports this class only by its descendants.
    click_exception: type[typer.BadParameter] = typer.BadParameter.__mro__[2]
    command = typer.main.get_command(make_app(word))
    try:
        code = command.main(arguments, prog_name="skylift", standalone_mode=False)
    except typer.Exit as end:
        return end.exit_code
    except SystemExit as end:
        # A reader that has gone is an exit with 1 to click, which is an answer of ours.
        if isinstance(end.__context__, BrokenPipeError):
            raise end.__context__ from None
        raise
    except typer.Abort:
        return INTERRUPTED
    except click_exception as error:
        error.show()
        return USAGE
    return code if isinstance(code, int) else 0


def _starts_here(word: str, arguments: list[str]) -> bool:
    """Whether a command starts this machine's cloud, as far as its line says."""
    on_aws = "--on=aws" in arguments or ("--on", "aws") in pairwise(arguments) or os.environ.get("SKYLIFT_ON") == "aws"
    return not on_aws and (word in ("run", "map") or (word == "schedule" and "--" in arguments))


def _enter(*, make: bool = False) -> None:
    """Begin anew in the namespaces of a cloud without root, if they are there, or can be made."""
    if os.geteuid() == 0:
        return
    from skylift.cloud.state.home import default_home
    from skylift.place import own_namespaces

    home = default_home()
    if make and home.is_rootless:
        # What is in the way is said by who needs them: a job on AWS does not.
        with suppress(UsageError):
            own_namespaces.make(home)
    if command := own_namespaces.way_in(home):
        os.execvp(command[0], [*command, sys.executable, *sys.orig_argv[1:]])  # noqa: S606 - itself


def _require_working_directory() -> None:
    """Nearly every command looks at it: for a project's settings, or for files."""
    try:
        Path.cwd()
    except FileNotFoundError:
        raise UsageError("The current directory has been deleted.", "Go to one that is there: cd") from None


def _write_all_letters() -> None:
    """Standard output may be of an encoding that has not all letters. They are written as on standard error then: a
    name or a tick must not end a command."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")


def _first_word(arguments: list[str]) -> str:
    """The command, also that of a line which a shell completes."""
    asked = os.environ.get(COMPLETE)
    if asked is not None:
        arguments = line_words(os.environ) if asked.startswith("complete_") else [*_SCRIPTS]
    return arguments[0] if arguments else ""


def _tell(message: str, advice: str, code: int) -> int:
    say_trouble(message, advice)
    return code


if __name__ == "__main__":
    main()
