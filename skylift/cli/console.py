"""`skylift console`: the cloud, or an AWS account, in a browser."""

from __future__ import annotations

import importlib.util
import os
import sys
import webbrowser
from typing import TYPE_CHECKING, Annotated, Any

import typer

from skylift.cli import complete
from skylift.cli.place import On, settings_there
from skylift.cli.say import say

if TYPE_CHECKING:
    from collections.abc import Callable

    from skylift.client.job.settings import Settings


def register(app: typer.Typer) -> None:
    app.command("console")(console)


def console(
    on: On = None,
    profile: Annotated[
        str | None, typer.Option("--profile", metavar="NAME", help="With --on aws: a profile of the AWS CLI.")
    ] = None,
    region: Annotated[
        str | None,
        typer.Option("--region", metavar="REGION", help="With --on aws: the region.", autocompletion=complete.region),
    ] = None,
    browser: Annotated[bool, typer.Option("--browser/--no-browser", help="Open the link in a browser.")] = True,
) -> None:
    """Show instances, jobs and more in a browser, until Ctrl-C.

    The link that it prints works for one browser and for one minute. Run the command again for another link. On AWS,
    each region and each user or role has a console of its own.
    """
    from skylift.client.errors import UsageError
    from skylift.cloud.state.home import default_home
    from skylift.console.address import find_running, listen
    from skylift.console.entry import SignIn

    _require_extra()
    if on != "aws" and (profile or region):
        raise UsageError("--profile and --region go with --on aws.", "A cloud on this machine has one region.")

    def find_settings() -> Settings:
        return settings_there(on, region)

    if profile:
        os.environ["AWS_PROFILE"] = profile
    settings = find_settings()
    home, name = default_home().path, _place_name(settings)
    running = find_running(home, name)
    place, listener = (running, None) if running else listen(home, name)
    link = f"{place.origin}/enter?token={SignIn(place.key).make_token()}"
    say(link)
    # Whoever reads it from a pipe waits for it while the console runs.
    sys.stdout.flush()
    if browser and _has_screen():
        webbrowser.open(link)
    if listener is None:
        say("The console is up already; this is another link to it.", to_stderr=True)
        return
    say("The link lets one browser in, within a minute. Ctrl-C ends the console.", to_stderr=True)
    from skylift.console.main import serve

    serve(place, listener, find_settings, None if settings.billed else _find_control)


def _find_control() -> Callable[..., Any]:
    """What only a cloud on this machine has: its bill, and interruptions."""
    from skylift.place.control import Control

    return Control().call


def _has_screen() -> bool:
    """Without one, a browser for terminals would take this terminal."""
    return any(os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER", "WSL_DISTRO_NAME"))


def _place_name(settings: Settings) -> str:
    from skylift.client.remote.account import who_calls
    from skylift.console.address import LOCAL, aws_name

    # The account of a cloud on this machine is known; whose credentials boto3 finds, AWS says.
    return LOCAL if settings.account is not None else aws_name(who_calls(settings), settings.region)


def _require_extra() -> None:
    from skylift.client.errors import UsageError

    if importlib.util.find_spec("nicegui") is None:
        raise UsageError(
            "The console needs NiceGUI, which is not installed.", "Install it: pip install 'skylift[console]'"
        )
