"""The console as a process: everything is put together here."""

from __future__ import annotations

import gc
import socket
from collections.abc import Callable
from functools import partial

import uvicorn
from fastapi import FastAPI

from skylift.client.job.settings import Settings
from skylift.client.remote.socket_owner import is_owner, owners
from skylift.console.address import Place
from skylift.console.entry import SignIn
from skylift.console.gate import App, Gate
from skylift.console.port import Control, Port
from skylift.console.site import build_site

_COLLECTED = 50_000, 20, 20
"""After how many new objects Python looks for cycles. One answer with 200 instances has as many: by itself it would
look dozens of times through each of them, and every few seconds through all of botocore's models."""


def serve(
    place: Place,
    listener: socket.socket,
    find_settings: Callable[[], Settings],
    find_control: Callable[[], Control] | None,
) -> None:
    """Until SIGINT or SIGTERM. Raises SkyliftError where there is no cloud to show."""
    gc.set_threshold(*_COLLECTED)
    site = FastAPI(openapi_url=None)
    build_site(site, Port(find_settings, find_control))
    app: App = site
    is_ours = partial(is_owner, here=(place.address, place.port), allowed=owners())
    gate = Gate(app, place, SignIn(place.key), is_ours)
    config = uvicorn.Config(
        gate, log_level="warning", access_log=False, proxy_headers=False, server_header=False, lifespan="on"
    )
    uvicorn.Server(config).run([listener])
