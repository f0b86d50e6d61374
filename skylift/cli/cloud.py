"""`skylift cloud`: the embedded EC2 on this machine, up and down, and the way to it for other tools."""

from __future__ import annotations

import os
import shlex
import sys
from dataclasses import asdict, replace
from pathlib import Path
from typing import Annotated, Any

import typer

from skylift.cli import bill, issuer, market
from skylift.cli.connect import connect
from skylift.cli.say import say, say_json, say_text
from skylift.cloud.domain.opening import OWNERS_WISH
from skylift.cloud.state.data import Endpoint
from skylift.cloud.state.home import Home, RootKey, default_home


def register(app: typer.Typer) -> None:
    cloud = typer.Typer(help="The embedded EC2 on this machine.", no_args_is_help=True, rich_markup_mode=None)
    for command in (up, down, status, env, connect, logs):
        cloud.command()(command)
    cloud.command(context_settings={"allow_interspersed_args": False, "ignore_unknown_options": True})(enter)
    market.register(cloud)
    bill.register(cloud)
    issuer.register(cloud)
    app.add_typer(cloud, name="cloud")


def up(
    port: Annotated[
        int | None, typer.Option(min=1, max=65535, help="Port of the endpoint on 127.0.0.1.", show_default=False)
    ] = None,
    region: Annotated[
        str | None, typer.Option(help="Region of a new cloud; an existing one keeps its region.", show_default=False)
    ] = None,
    tls: Annotated[
        bool, typer.Option("--tls", help="Serve HTTPS as well, with a local certificate. Later starts keep this.")
    ] = False,
    allow: Annotated[
        list[str] | None,
        typer.Option(
            metavar="ADDRESS[/LENGTH][:PORT[/udp]]",
            help="Let servers reach this part of your network, which is closed to them. Repeat it for more; `none` "
            "closes everything. Later starts keep this.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Start the embedded EC2 in the background."""
    from skylift.cli.bar import build_bar
    from skylift.cli.certificate import ensure_certificate
    from skylift.place.first_run import cache_filled
    from skylift.place.local import is_within_reach, running_cloud
    from skylift.place.privilege import is_root, run_as_root
    from skylift.place.start import bring_up, make_data, prepare_home

    openings = _checked(allow)
    home = default_home()
    pid, before = home.running_pid() if is_within_reach(home) else None, None
    if pid is not None and is_root():
        make_data(home)
    if pid is None:
        prepare_home(home)
        if not is_root():
            options = [*(["--port", str(port)] if port else []), *(["--region", region] if region else [])]
            options += ["--tls"] if tls else []
            options += [word for text in openings or () for word in ("--allow", text)]
            with cache_filled(home):
                code = run_as_root(home, ["cloud", "up", *options])
            raise typer.Exit(code)
        before = home.endpoint() if port is None else None
        if tls:
            make_data(home)
            ensure_certificate(home)
        with cache_filled(home):
            bring_up(home, port, region, openings, showing=build_bar)
    endpoint, _ = running_cloud(home)
    if port is not None and not endpoint.url.endswith(f":{port}"):
        say(f"The cloud was up already, with its endpoint at {endpoint.url}, not on port {port}.", to_stderr=True)
        raise typer.Exit(2)
    if tls and not endpoint.tls_url:
        say("The cloud was up already, without TLS. Take it down first: skylift cloud down", to_stderr=True)
        raise typer.Exit(2)
    if pid is not None and openings is not None and openings != (_allowed_now(home) or ["none"]):
        say("The cloud was up already, with other openings. Take it down first: skylift cloud down", to_stderr=True)
        raise typer.Exit(2)
    say(f"The cloud {'is' if pid else 'is now'} up at {endpoint.url} ({endpoint.region}, account {endpoint.account}).")
    if before is not None and before.url != endpoint.url:
        # They would say everything to whoever has it now.
        say(f"It was at {before.url}, which another program has now. Point your tools here: skylift cloud env --help")
    if endpoint.tls_url:
        say(f"Over TLS it is at {endpoint.tls_url}, with a certificate vouched for by {home.authority}.")


def _checked(allow: list[str] | None) -> list[str] | None:
    """Openings in their one form. Raises UsageError for what is none."""
    from skylift.client.errors import UsageError
    from skylift.cloud.domain.opening import OpeningError, parse_openings

    if not allow:
        return None
    try:
        return [str(opening) for opening in parse_openings(allow)] or ["none"]
    except OpeningError as error:
        raise UsageError(f"--allow {error}") from error


def _allowed_now(home: Home) -> list[str]:
    """What the cloud that is up was started with."""
    return [one.wanted for one in home.data.open_now() or () if one.why == OWNERS_WISH]


def down(
    erase: Annotated[
        bool, typer.Option("--erase", help="Delete all data of the cloud as well: disks, volumes, buckets.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Erase without asking.")] = False,
    force: Annotated[
        bool, typer.Option("--force", help="End running jobs without asking; keep their results so far.")
    ] = False,
) -> None:
    """Stop the embedded EC2 and its servers. Disks and data stay for the next start.

    Running jobs are ended first, after a question: their programs get SIGTERM, and their results go to S3.
    """
    from skylift.cli.aws_profile import remove_profiles
    from skylift.cli.running_jobs import RunningJobs
    from skylift.place.privilege import is_root, run_as_root
    from skylift.place.start import is_here, stop_cloud

    home = default_home()
    if not is_here(home):
        say(f"There is no cloud in {home.path}.")
        return
    # What is to be erased with all its results need not send them first.
    jobs = None if erase and yes else RunningJobs(home)
    if jobs and not force:
        jobs.agree()
    if erase and not yes:
        _agree_to_erase(home)
    if jobs and not erase:
        jobs.end()
    if is_root():
        stop_cloud(home, erase=erase)
    elif code := run_as_root(home, ["cloud", "down", *(["--erase", "--yes"] if erase else ["--force"])]):
        raise typer.Exit(code)
    for line in remove_profiles(home):
        say(line)
    if is_root():
        say("The cloud is down, and its data is gone." if erase else "The cloud is down.")


def _agree_to_erase(home: Home) -> None:
    from skylift.client.errors import UsageError

    if not sys.stdin.isatty():
        raise UsageError("--erase deletes all disks, volumes and buckets of this cloud.", "Say --yes if that is meant.")
    if not typer.confirm(f"Delete all disks, volumes, images and buckets of the cloud in {home.path}?", default=False):
        raise UsageError("Nothing was erased, and the cloud is as it was.")


def status(as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False) -> None:
    """Show whether the embedded EC2 is up, and its endpoint. Exits with 1 if it is down."""
    home = default_home()
    facts = describe(home)
    if as_json:
        say_json(facts)
    elif facts["running"]:
        say(f"up      {facts['url']}  {facts['region']}  account {facts['account']}  pid {facts['pid']}")
        say(f"state   {facts['home']}")
        say(f"image   {facts['image'] or 'not built'}")
        if facts["open"]:
            say(f"open    {', '.join(facts['open'])} (of your networks; see `skylift doctor`)")
    else:
        say(f"down    {facts['home']}")
    if not facts["running"]:
        raise typer.Exit(1)


def describe(home: Home) -> dict[str, Any]:
    """What `cloud status --json` shows; the endpoint's own facts only while it is up."""
    from skylift.cloud.compute.image.image import default_image
    from skylift.place.start import running_pid

    endpoint = home.endpoint() if running_pid(home) is not None else None
    image = default_image(home.data)
    return {
        "running": endpoint is not None,
        "home": str(home.path),
        "image": image.id if image else None,
        **({**asdict(endpoint), "open": _open_now(home)} if endpoint else {}),
    }


def _open_now(home: Home) -> list[str]:
    return sorted({text for one in home.data.open_now() or () for text in one.open})


def env(
    profile: Annotated[
        str | None, typer.Option(metavar="NAME", help="Write an AWS profile of this name instead of printing.")
    ] = None,
    tls: Annotated[bool, typer.Option("--tls", help="Use the HTTPS endpoint (see `skylift cloud up --tls`).")] = False,
) -> None:
    """Print shell exports for AWS's own tools: eval "$(skylift cloud env)"."""
    from skylift.cli.aws_profile import write_profile
    from skylift.client.errors import UsageError
    from skylift.place.local import running_cloud

    home = default_home()
    endpoint, key = running_cloud(home)
    if tls:
        if not endpoint.tls_url:
            raise UsageError("The cloud is up without TLS.", "Run: skylift cloud down; skylift cloud up --tls")
        if profile is not None:
            raise UsageError("--tls goes with exports only, not with --profile.")
        say_text(exports(replace(endpoint, url=endpoint.tls_url), key))
        say(f"export AWS_CA_BUNDLE={shlex.quote(str(home.authority))}")
        return
    if profile is None:
        say_text(exports(endpoint, key))
        return
    written = write_profile(home, profile, endpoint, key)
    say(f"Profile {profile} is in {written.config} and {written.credentials}.", to_stderr=True)
    say(f"Try: aws --profile {shlex.quote(profile)} ec2 describe-instances", to_stderr=True)


def exports(endpoint: Endpoint, key: RootKey) -> str:
    """Shell commands that point AWS's tools here; what would lead them elsewhere is unset."""
    variables = {
        "AWS_ENDPOINT_URL": endpoint.url,
        "AWS_ACCESS_KEY_ID": key.access_key_id,
        "AWS_SECRET_ACCESS_KEY": key.secret_access_key,
        "AWS_REGION": endpoint.region,
        "AWS_DEFAULT_REGION": endpoint.region,
    }
    lines = [f"export {name}={shlex.quote(value)}\n" for name, value in variables.items()]
    return "".join(lines) + "unset AWS_SESSION_TOKEN AWS_PROFILE\n"


def enter(program: Annotated[list[str], typer.Argument(metavar="PROGRAM [ARGUMENT]...")]) -> None:
    """Run a program where the addresses of servers are: without root, in namespaces of your own."""
    from skylift.client.errors import UsageError
    from skylift.place.local import running_cloud

    running_cloud(default_home())
    try:
        os.execvp(program[0], program)  # noqa: S606 - what was asked for
    except OSError as error:
        raise UsageError(f"{program[0]} cannot be run: {error.strerror}") from error


def logs(
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Follow the log as it grows.")] = False,
    lines: Annotated[int, typer.Option("--lines", "-n", min=0, help="Number of last lines to show.")] = 200,
) -> None:
    """Show the log of the embedded EC2."""
    from skylift.client.errors import UsageError

    home = default_home()
    log = home.data.log
    if not log.exists():
        raise UsageError(
            f"There is no log of a cloud in {home.path}.", "It has not been started with this SKYLIFT_HOME."
        )
    if not os.access(log, os.R_OK):
        raise UsageError(f"{log} is root's.", f"Read it as root: sudo tail {shlex.quote(str(log))}")
    sys.stdout.flush()
    tail(log, lines, follow=follow)


def tail(log: Path, lines: int, *, follow: bool) -> None:
    """Become tail(1)."""
    command = ["tail", "-n", str(lines), *(["-F"] if follow else []), "--", str(log)]
    os.execvp(command[0], command)  # noqa: S606 - an argument list of ours, no shell
