"""The site: which page is at which path, and what NiceGUI is told. The one file that knows all pages."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jinja2
from fastapi import FastAPI
from nicegui import app as nicegui_app
from nicegui import json as nicegui_json
from nicegui import ui
from nicegui.client import templates

from skylift.console.cloud_view import CloudView
from skylift.console.pages.addresses import AddressesPage
from skylift.console.pages.buckets import BucketPage, BucketsPage
from skylift.console.pages.clusters import ClustersPage
from skylift.console.pages.connect import ConnectPage
from skylift.console.pages.cost import CostPage
from skylift.console.pages.create_vpc import CreateVpcPage
from skylift.console.pages.instance import InstancePage
from skylift.console.pages.instances import InstancesPage
from skylift.console.pages.job import JobPage
from skylift.console.pages.jobs import JobsPage
from skylift.console.pages.key_pairs import KeyPairsPage
from skylift.console.pages.launch import LaunchPage
from skylift.console.pages.map_inputs import InputPage
from skylift.console.pages.new_job import NewJobPage
from skylift.console.pages.prices import PricePage, PricesPage
from skylift.console.pages.roles import RolePage, RolesPage
from skylift.console.pages.run_again import RunAgainPage
from skylift.console.pages.scaling_groups import ScalingGroupPage, ScalingGroupsPage
from skylift.console.pages.security_groups import SecurityGroupPage, SecurityGroupsPage
from skylift.console.pages.simulator import SimulatorPage
from skylift.console.pages.spot import SpotPage
from skylift.console.pages.users import UserPage, UsersPage
from skylift.console.pages.vpcs import VpcPage, VpcsPage
from skylift.console.port import Port
from skylift.console.shell import Shells
from skylift.console.transfer import add_transfers
from skylift.console.widgets.frame import Entry, PageFrame, follow_path
from skylift.console.widgets.routes import Routes

STATIC = Path(__file__).parent / "static"
ENTRIES = (
    Entry("Jobs", "/jobs", "Programs"),
    Entry("Clusters", "/clusters", "Programs"),
    Entry("Instances", "/instances", "Servers"),
    Entry("Launch", "/launch", "Servers"),
    Entry("Auto Scaling", "/scaling", "Servers"),
    Entry("Spot", "/spot", "Servers"),
    Entry("Cost", "/cost", "Money"),
    Entry("Types and prices", "/prices", "Money"),
    Entry("S3", "/s3", "Storage"),
    Entry("VPCs", "/vpcs", "Network"),
    Entry("Elastic IPs", "/addresses", "Network"),
    Entry("Key pairs", "/key-pairs", "Access"),
    Entry("Security groups", "/security-groups", "Access"),
    Entry("Roles", "/roles", "Access"),
    Entry("Users", "/users", "Access"),
    Entry("Policy simulator", "/simulator", "Access"),
)
_HEAD = """
<link rel="stylesheet" href="/console/console.css">
<script src="/console/console.js"></script>
<script src="/console/keyboard.js"></script>
"""


def build_site(site: FastAPI, port: Port) -> None:
    view = CloudView(port)
    shells = Shells(port)

    def root() -> None:
        ui.add_head_html(_HEAD)
        frame = PageFrame(ENTRIES, f"{port.place} · {port.settings.region}", view.find, view.look_up)
        follow_path(frame.mark)
        with frame.main:
            Routes(
                {
                    "/": lambda: InstancesPage(view),
                    "/instances": lambda: InstancesPage(view),
                    "/instances/{instance}": lambda instance, launched="": InstancePage(
                        view, instance, launched
                    ).show(),
                    "/connect/{instance}": lambda instance: ConnectPage(view, shells, instance).show(),
                    "/launch": lambda kind="": LaunchPage(view, kind).show(),
                    "/key-pairs": lambda: KeyPairsPage(view),
                    "/security-groups": lambda: SecurityGroupsPage(view),
                    "/security-groups/{group}": lambda group: SecurityGroupPage(view, group).show(),
                    "/vpcs": lambda: VpcsPage(view),
                    "/create-vpc": lambda: CreateVpcPage(view).show(),
                    "/addresses": lambda: AddressesPage(view),
                    "/vpcs/{vpc}": lambda vpc: VpcPage(view, vpc).show(),
                    "/scaling": lambda: ScalingGroupsPage(view),
                    "/scaling/{name}": lambda name: ScalingGroupPage(view, name).show(),
                    "/spot": lambda: SpotPage(view),
                    "/cost": lambda: CostPage(view).show(),
                    "/prices": lambda: PricesPage(view),
                    "/prices/{kind}": lambda kind: PricePage(view, kind).show(),
                    "/roles": lambda: RolesPage(view),
                    "/roles/{name}": lambda name: RolePage(view, name).show(),
                    "/users": lambda: UsersPage(view),
                    "/users/{name}": lambda name: UserPage(view, name).show(),
                    "/simulator": lambda who="": SimulatorPage(view, who).show(),
                    "/s3": lambda: BucketsPage(view),
                    "/s3/{bucket}": lambda bucket, prefix="": BucketPage(view, bucket, prefix).show(),
                    "/jobs": lambda: JobsPage(view),
                    "/clusters": lambda: ClustersPage(view),
                    "/run-again/{name}": lambda name: RunAgainPage(view, name).show(),
                    "/new-job": lambda: NewJobPage(view),
                    "/inputs/{job}/{index}": lambda job, index: InputPage(view, job, index).show(),
                    "/jobs/{name}": lambda name: JobPage(view, name).show(),
                }
            )

    _put_nonces_into_the_template()
    _spell_what_is_no_text()
    add_transfers(site, port)
    nicegui_app.on_shutdown(shells.close_all)
    nicegui_app.add_static_files("/console", STATIC)
    ui.run_with(
        site,
        root=root,
        title="skylift console",
        dark=False,
        tailwind=False,
        language="en-US",
        binding_refresh_interval=None,
        reconnect_timeout=10,
        show_welcome_message=False,
    )
    nicegui_app.config.socket_io_js_transports = ["websocket"]


def _put_nonces_into_the_template() -> None:
    """Each script of NiceGUI's own page gets the nonce that the gate has made for this answer. It is put into the
    template, not into the answer: what a page shows cannot get one."""
    environment = templates.env
    source = environment.loader
    assert source is not None

    def load(name: str) -> tuple[str, str | None, None]:
        text, file, _ = source.get_source(environment, name)
        return text.replace("<script", '<script nonce="{{ request.scope.nonce }}"'), file, None

    environment.loader = jinja2.FunctionLoader(load)


def _spell_what_is_no_text() -> None:
    """The name of a file may be of any bytes, and a server's JSON may have half a character. NiceGUI's JSON refuses the
    whole page for it; Python's spells it as an escape, which a browser shows as a replacement character."""
    strict = nicegui_json.dumps

    def dumps(value: Any, **options: Any) -> str:
        try:
            return strict(value, **options)
        except TypeError:
            return json.dumps(value)

    vars(nicegui_json)["dumps"] = dumps
