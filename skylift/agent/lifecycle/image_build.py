"""Prepares a server that an image is made of: it gets one environment, and no program runs on it.

The environment comes from the bucket and has a known digest; nothing of it is run here. If it cannot be downloaded,
there is no image: building it here would run packages' code.
"""

from __future__ import annotations

import contextlib
import os

from skylift.agent.environment.cached_environment import CachedEnvironment
from skylift.agent.environment.environment import environment_folders
from skylift.agent.environment.prebuilt import PrebuiltEnvironment
from skylift.agent.job.outcome import Ended, Outcome
from skylift.agent.lifecycle.recovery import Concluded
from skylift.agent.lifecycle.session import JobSession
from skylift.contract.states import State


def seal(session: JobSession) -> Concluded:
    """Raises Ended when the environment cannot be had."""
    context, login, named = session.context, session.context.login, session.record.prebuilt
    session.status.set(state=State.ENVIRONMENT)
    if not named:
        raise Ended(State.BROKEN, "The record names no environment for the image.")
    folders = environment_folders(login)
    found = PrebuiltEnvironment(context.place(named["place"]), named, login, folders).take()
    if found is None:
        raise Ended(State.BROKEN, "The environment for the image cannot be had from the bucket.")
    mark = context.root / "var/lib/skylift/environment"
    CachedEnvironment(mark, folders, login.home).mark_imaged(found["name"], found["lock"])
    # The image's servers may have other users than this server.
    for own in (login.home, context.root / "root"):
        (own / ".ssh/authorized_keys").unlink(missing_ok=True)
    with contextlib.suppress(FileNotFoundError):
        os.truncate(str(context.root / "etc/machine-id"), 0)
    os.sync()
    return Concluded(Outcome(State.SUCCEEDED, "The server has the environment, and nothing else.", 0), {})
