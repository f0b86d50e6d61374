"""The rows of this folder's operations: each stands below its handler."""

from __future__ import annotations

from skylift.cloud.services.api.operation import Operation
from skylift.cloud.services.sts import (
    authorization_message,
    session,
    web_identity,
)

OPERATIONS: tuple[Operation, ...] = (
    *authorization_message.OPERATIONS,
    *session.OPERATIONS,
    *web_identity.OPERATIONS,
)
