"""The cloud's own service on this machine: called like AWS's, by the model in the package."""

from __future__ import annotations

from functools import cached_property
from typing import Any

from botocore.config import Config
from botocore.session import Session

from skylift.cloud.home import default_home
from skylift.cloud.wire.models import OWN_MODELS
from skylift.place.local import running_cloud
from skylift.runner.ec2 import translated


class Control:
    """Calls to the cloud that is up; raises UsageError where there is none."""

    def call(self, operation: str, **params: Any) -> Any:
        """One operation, by boto3's name for it (`put_spot_price`)."""
        client = self._client
        with translated(operation, "skylift"):
            return getattr(client, operation)(**params)

    @cached_property
    def _client(self) -> Any:
        endpoint, key = running_cloud(default_home())
        session: Any = Session()
        session.get_component("data_loader").search_paths.append(str(OWN_MODELS))
        return session.create_client(
            "skylift",
            endpoint.region,
            endpoint_url=endpoint.url,
            aws_access_key_id=key.access_key_id,
            aws_secret_access_key=key.secret_access_key,
            config=Config(retries={"mode": "standard", "max_attempts": 3}),
        )
