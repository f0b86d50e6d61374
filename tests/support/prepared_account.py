"""An account of moto's that has skylift's bucket and network already, as every account but a new one has. They are made
once a process; later tests have them put back, which takes a hundredth of the time."""

from __future__ import annotations

import io
import pickle
from typing import Any

from moto import backends
from moto.core.base_backend import BaseBackend

from skylift.client.job.settings import Settings
from skylift.client.launch.bucket import ensure_bucket
from skylift.client.launch.network import ensure_network
from skylift.client.remote.account import open_account


class PreparedAccount:
    def __init__(self) -> None:
        self._kept = b""

    def put_back(self, settings: Settings) -> None:
        """Into an account that is empty: what it had would come back with each later test of this process, or go."""
        account = open_account(settings)
        backends_of = {"ec2": settings.region, "s3": "aws"}
        ec2, s3 = (_backend(each, account.number, place) for each, place in backends_of.items())
        networks = [each.id for each in ec2.vpcs.values() if each is not ec2.default_vpc]
        has = [*s3.buckets, *networks, *ec2.reservations, *ec2.key_pairs]
        assert has == [], f"`prepared` comes before what makes anything in the account, which has {has}"
        buckets: Any = backends.get_backend("s3")
        if not self._kept:
            ensure_bucket(account.api, account.bucket)
            ensure_network(account.api, account.bucket)
            states = {each: _backend(each, account.number, place).__dict__ for each, place in backends_of.items()}
            file = io.BytesIO()
            _Writer(file).dump((states, buckets.bucket_accounts))
            self._kept = file.getvalue()
            return
        states, owners = _Reader(io.BytesIO(self._kept)).load()
        for service, place in backends_of.items():
            _backend(service, account.number, place).__dict__.update(states[service])
        buckets.bucket_accounts.update(owners)


def _backend(service: Any, account: str, place: str) -> Any:
    return backends.get_backend(service)[account][place]


class _Writer(pickle.Pickler):
    """What is kept names moto's backends, which are made anew with each reset."""

    def persistent_id(self, each: object) -> tuple[str, str, str] | None:
        if not isinstance(each, BaseBackend):
            return None
        return type(each).__module__.split(".")[1], each.account_id, each.region_name


class _Reader(pickle.Unpickler):
    def persistent_load(self, name: tuple[str, str, str]) -> Any:
        return _backend(*name)
