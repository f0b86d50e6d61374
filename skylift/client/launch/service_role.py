"""The service-linked roles that EC2 needs: one to maintain fleets, and one to start spot servers.

An account has them once somebody has made them. AWS's console makes them by itself. A user of the API has to make them
before the first fleet.
https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/ec2-fleet-prerequisites.html
"""

from __future__ import annotations

from skylift.client.errors import Refused
from skylift.client.remote.api import Api

_PATH = "/aws-service-role/"
_OF_FLEETS = ("ec2fleet.amazonaws.com", "spot.amazonaws.com")


def ensure_fleet_roles(api: Api) -> None:
    """Make both roles if they do not exist. Safe to repeat, and to run at the same time as another client."""
    paths = {each["Path"] for each in api.pages("iam", "list_roles", "Roles", PathPrefix=_PATH)}
    for service in _OF_FLEETS:
        if f"{_PATH}{service}/" not in paths:
            _make(api, service)


def _make(api: Api, service: str) -> None:
    try:
        api.retry_concurrent("iam", "create_service_linked_role", AWSServiceName=service)
    except Refused as error:
        # IAM's answer when another client has just made the role.
        if error.code != "InvalidInput" or "has been taken" not in error.reason:
            raise
