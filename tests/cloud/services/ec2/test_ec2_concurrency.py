"""Of any number of concurrent calls that make the same named thing, exactly one wins."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from ec2_fixtures import Cloud

from skylift.cloud.domain.error import ServiceError

THREADS = 12


def outcomes(act: Callable[[int], Any]) -> list[Any]:
    """What came of `THREADS` calls that begin together: an answer, or an error's code."""
    together = threading.Barrier(THREADS)

    def one(number: int) -> Any:
        together.wait()
        try:
            return act(number)
        except ServiceError as error:
            return error.code

    with ThreadPoolExecutor(THREADS) as pool:
        return list(pool.map(one, range(THREADS)))


@pytest.mark.parametrize(
    ("operation", "params", "code"),
    [
        ("CreateKeyPair", {"KeyName": "same", "KeyType": "ed25519"}, "InvalidKeyPair.Duplicate"),
        ("CreateSecurityGroup", {"GroupName": "same", "Description": "d"}, "InvalidGroup.Duplicate"),
    ],
)
def test_one_wins(cloud: Cloud, operation: str, params: dict[str, str], code: str) -> None:
    found = outcomes(lambda _: cloud.call(operation, **params))
    assert found.count(code) == THREADS - 1
    assert sum(isinstance(one, dict) for one in found) == 1


def test_one_token_one_reservation(cloud: Cloud) -> None:
    asked = {"ImageId": cloud.image_id, "InstanceType": "t3.micro", "MinCount": 1, "MaxCount": 1, "ClientToken": "t"}
    found = outcomes(lambda _: cloud.call("RunInstances", **asked)["ReservationId"])
    assert len(set(found)) == 1
    assert len(cloud.call("DescribeInstances")["Reservations"]) == 1


def test_everybody_gets_addresses_and_uids_of_their_own(cloud: Cloud) -> None:
    made = outcomes(lambda _: cloud.run())
    for member in ("InstanceId", "PrivateIpAddress", "PublicIpAddress"):
        assert len({one[member] for one in made}) == THREADS
    assert len({cloud.row(one["InstanceId"]).uid_base for one in made}) == THREADS


def test_one_address_one_instance(cloud: Cloud) -> None:
    found = outcomes(lambda _: cloud.run(PrivateIpAddress="172.31.0.77"))
    assert found.count("InvalidIPAddress.InUse") == THREADS - 1
