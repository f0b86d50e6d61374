"""Where jobs run: `local`, this machine's own EC2, or `aws`, the account that boto3 finds credentials of."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from skylift.client.errors import UsageError
from skylift.cloud.state.home import default_home
from skylift.place.start import Showing, no_display, running_pid

if TYPE_CHECKING:
    from skylift.client.job.settings import Access, Settings
    from skylift.client.plan.consent import Consents


def settings_for(
    on: str | None,
    access: Access | None = None,
    *,
    trusted: bool = False,
    showing: Showing = no_display,
    start: bool = True,
    region: str | None = None,
) -> Settings:
    """The place's settings. What stands in the environment, or in `[tool.skylift]` of the project around, counts where
    nothing was said; of the latter, what was agreed to, unless it is `trusted`. Without `start`, a cloud of this
    machine's that is down is a UsageError, and stays down. `region` is one of AWS's, in place of the one that boto3
    finds."""
    from dataclasses import replace

    from skylift.client.job.settings import Access
    from skylift.place.figures import use_own_figures

    use_own_figures()
    chosen = on or _configured("on", trusted=trusted) or "local"
    settings = _settings_of(chosen, showing, start=start, region=region)
    if access is None:
        ssh_from = _configured("ssh-from", trusted=trusted)
        access = Access(ssh_from=ssh_from) if ssh_from else None
    return replace(settings, access=access) if access is not None else settings


def consents() -> Consents:
    """What this user has agreed to."""
    from skylift.client.plan.consent import Consents

    return Consents(default_home().path / "cache" / "consents")


def settings_of_running(on: str | None) -> Settings | None:
    """Those of a place that is there now: a cloud of this machine's that is down is not started for a look."""
    chosen = on or _configured("on") or "local"
    if chosen == "local" and running_pid(default_home()) is None:
        return None
    from skylift.client.job.settings import Access

    return settings_for(chosen, Access())


def _settings_of(place: str, showing: Showing, *, start: bool, region: str | None) -> Settings:
    if place == "local":
        from skylift.place.local import local_settings

        return local_settings(showing, start)
    if place == "aws":
        from skylift.client.job.cache import Cache
        from skylift.client.launch.aws_settings import aws_settings

        home = default_home().path
        return aws_settings(home / "keys", Cache(home / "cache"), region)
    raise _no_place(place)


def check_place(on: str | None) -> None:
    """Raises UsageError for one that there is not."""
    chosen = on or _configured("on") or "local"
    if chosen not in ("local", "aws"):
        raise _no_place(chosen)


def _no_place(name: str) -> UsageError:
    return UsageError(f"--on {name!r} is not a place where jobs run.", "It may be local or aws.")


def _configured(key: str, *, trusted: bool = False) -> str | None:
    """Of what concerns all commands alike: how to get to the servers."""
    from skylift.client.plan.tool_table import project_table

    variable = os.environ.get(f"SKYLIFT_{key.upper().replace('-', '_')}")
    if variable:
        return variable
    table = project_table(Path.cwd())
    if table is None or key not in table.values:
        return None
    if not trusted:
        from skylift.client.plan.consent import asks_of, require

        words = f"--{key} ... or SKYLIFT_{key.upper().replace('-', '_')}=..."
        advice = f"Say it yourself ({words}), or agree once on a terminal: skylift run. In Python: trust_project=True."
        require(asks_of(table, [key], Path.cwd(), billed=True), consents(), None, advice)
    return str(table.values[key])
