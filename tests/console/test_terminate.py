"""What is asked before instances are terminated."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import pytest
from fastapi import Request
from nicegui import Client, core, ui
from nicegui.elements.mixins.text_element import TextElement

from skylift.client.errors import NotPermitted
from skylift.console.call import Call
from skylift.console.cloud_view import CloudView
from skylift.console.instance_removal import ends_with
from skylift.console.pages.instances import TERMINATE, InstancesPage
from skylift.console.poller import Topic
from skylift.console.port import Port
from skylift.console.rows import InstanceRow


class Account(Port):
    """So many instances, with a volume each that goes and one that stays, and one address."""

    def __init__(self, instances: int = 1, refused: Sequence[str] = ()) -> None:
        self.calls: list[Call] = []
        self._instances, self._refused = instances, refused

    def perform(self, call: Call) -> Any:
        self.calls.append(call)
        if call.operation in self._refused:
            raise NotPermitted("UnauthorizedOperation", "You may not.", call.operation)
        if call.operation == "describe_addresses":
            return {"Addresses": [{"PublicIp": "192.0.2.1", "InstanceId": "i-0"}, {"PublicIp": "192.0.2.2"}]}
        if call.operation == "describe_volumes":
            return {
                "Volumes": [{"VolumeId": each, "Size": 8, "VolumeType": "gp3"} for each in call.params["VolumeIds"]]
            }
        assert call.operation == "describe_instances"
        found = [
            {
                "InstanceId": f"i-{number}",
                "BlockDeviceMappings": [
                    {"DeviceName": "/dev/xvda", "Ebs": {"VolumeId": f"vol-{number}", "DeleteOnTermination": True}},
                    {"DeviceName": "/dev/sdf", "Ebs": {"VolumeId": f"vol-stays-{number}"}},
                ],
            }
            for number in range(self._instances)
        ]
        return {"Reservations": [{"Instances": found}]}

    def pages(self, call: Call, key: str) -> list[Any]:
        return list(self.perform(call)[key])


def test_it_is_said_what_goes_and_what_stays() -> None:
    assert ends_with(Account(), ["i-0"]) == [
        "vol-0 (8 GiB gp3) is deleted with it.",
        "vol-stays-0 (8 GiB gp3) stays, and costs.",
        "192.0.2.1 stays yours, and costs: release it among Elastic IPs.",
    ]


def test_the_volumes_of_many_instances_are_looked_up_at_once() -> None:
    account = Account(150)
    said = ends_with(account, [f"i-{number}" for number in range(150)])
    assert said[0] == "150 volumes are deleted with them, 1200 GiB in all."
    assert [each.operation for each in account.calls].count("describe_volumes") == 2
    assert all(len(each.params.get("VolumeIds", [])) <= 200 for each in account.calls)


def test_who_may_not_see_volumes_and_addresses_hears_what_is_known() -> None:
    account = Account(1, ["describe_volumes", "describe_addresses"])
    assert ends_with(account, ["i-0"]) == [
        "How large its volumes are could not be looked up. describe_volumes: You may not. (UnauthorizedOperation)",
        "vol-0 is deleted with it.",
        "vol-stays-0 stays, and costs.",
        "Whether an Elastic IP stays, and costs, could not be looked up. "
        "describe_addresses: You may not. (UnauthorizedOperation)",
    ]
    many = ends_with(Account(20, ["describe_volumes"]), ["i-0"])
    assert many[1] == "20 volumes are deleted with them."


class View(CloudView):
    def __init__(self, port: Port) -> None:
        row = InstanceRow(
            *("i-0", "web", "running", "t3.micro", "us-east-1a", "", "", "", "2026-01-01 00:00:00", None),
            *("on-demand", "vpc-1", ""),
        )
        self.port = port
        self.instances = Topic(lambda: [row], 3600)


class Slow(Account):
    """It answers when it is let go."""

    def __init__(self, refused: Sequence[str] = ()) -> None:
        super().__init__(1, refused)
        self.go_on = threading.Event()

    def perform(self, call: Call) -> Any:
        assert self.go_on.wait(30)
        return super().perform(call)


@pytest.mark.parametrize("refused", [[], ["describe_instances"]])
async def test_two_clicks_open_one_question_whatever_may_be_seen(
    refused: Sequence[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(core, "loop", asyncio.get_running_loop())
    request = Request({"type": "http", "method": "GET", "path": "/", "query_string": b"", "headers": []})
    port = Slow(refused)
    view = View(port)
    with Client(ui.page("/"), request=request) as client:
        page = InstancesPage(view)
        while not view.instances.rows:
            await asyncio.sleep(0.001)
        page._grid._selection_changed(SimpleNamespace(args=["i-0"]))

        async def click() -> None:
            with client.layout:
                await page._ask(TERMINATE)

        clicks = [asyncio.create_task(click()) for _ in range(2)]
        await asyncio.sleep(0)
        port.go_on.set()
        await asyncio.wait_for(asyncio.gather(*clicks), 30)
        questions = [each for each in client.layout.descendants() if each.tag == "dialog"]
        texts = [each.text for each in client.layout.descendants() if isinstance(each, TextElement)]
        client.delete()
    if view.instances.looking is not None:
        view.instances.looking.cancel()
    assert len(questions) == 1
    assert ("vol-0 (8 GiB gp3) is deleted with it." in texts) == (not refused)
    assert any(each.startswith("What ends with it could not be looked up.") for each in texts) == bool(refused)
