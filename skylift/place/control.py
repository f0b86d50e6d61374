"""The cloud's own service on this machine: called like AWS's, by the model in the package."""

from __future__ import annotations

from functools import cached_property
from typing import Any

from botocore.config import Config
from botocore.session import Session

from skylift.client.errors import Refused, UsageError
from skylift.client.job.tags import job_filter
from skylift.client.remote.api import send_only_to, translated
from skylift.cloud.state.home import default_home
from skylift.cloud.wire.models import OWN_MODELS
from skylift.place.local import listeners_of, running_cloud

_WRONG_VALUES = ("Invalid", "MissingParameter", "ValidationError")
"""How codes begin that tell of a mistake of who asked."""


class Control:
    """Calls to the cloud that is up; raises UsageError where there is none."""

    def call(self, operation: str, **params: Any) -> Any:
        """One operation, by boto3's name for it (`put_spot_price`). What it refuses of these values is a UsageError:
        nothing has been done."""
        client = self._client
        try:
            with translated(operation, "skylift"):
                return getattr(client, operation)(**params)
        except Refused as error:
            if error.code.startswith(_WRONG_VALUES):
                raise UsageError(error.message, error.advice) from None
            raise

    def instance_of(self, name: str) -> str:
        """An instance's id as it is; for a job's name the id of its server. Raises UsageError where it has none."""
        if name.startswith("i-"):
            return name
        wanted = [job_filter(name), {"Name": "instance-state-name", "Values": ["pending", "running"]}]
        with translated("describe_instances", "ec2"):
            found = self._made("ec2").describe_instances(Filters=wanted)["Reservations"]
        if not found:
            raise UsageError(f"No job {name!r} has a server in this cloud.", "See `skylift ps`.")
        return str(found[0]["Instances"][0]["InstanceId"])

    @cached_property
    def _client(self) -> Any:
        return self._made("skylift")

    def _made(self, service: str) -> Any:
        endpoint, key = running_cloud(default_home())
        session: Any = Session()
        send_only_to(listeners_of(default_home()), session)
        session.get_component("data_loader").search_paths.append(str(OWN_MODELS))
        return session.create_client(
            service,
            endpoint.region,
            endpoint_url=endpoint.url,
            aws_access_key_id=key.access_key_id,
            aws_secret_access_key=key.secret_access_key,
            config=Config(retries={"mode": "standard", "max_attempts": 3}, proxies={}),
        )
