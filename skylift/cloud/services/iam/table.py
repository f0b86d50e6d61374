"""The rows of this folder's operations: each stands below its handler."""

from __future__ import annotations

from skylift.cloud.services.api.operation import Operation
from skylift.cloud.services.iam import (
    access_key,
    account,
    account_alias,
    credential_report,
    empty_listings,
    entity_policy,
    group,
    instance_profile,
    issuer_keys,
    login_profile,
    mfa_device,
    oidc_provider,
    password_policy,
    policy,
    role,
    service_credential,
    service_linked_role,
    simulation,
    user,
)

OPERATIONS: tuple[Operation, ...] = (
    *access_key.OPERATIONS,
    *account.OPERATIONS,
    *account_alias.OPERATIONS,
    *credential_report.OPERATIONS,
    *empty_listings.OPERATIONS,
    *entity_policy.OPERATIONS,
    *group.OPERATIONS,
    *instance_profile.OPERATIONS,
    *issuer_keys.OPERATIONS,
    *login_profile.OPERATIONS,
    *mfa_device.OPERATIONS,
    *oidc_provider.OPERATIONS,
    *password_policy.OPERATIONS,
    *policy.OPERATIONS,
    *role.OPERATIONS,
    *service_credential.OPERATIONS,
    *service_linked_role.OPERATIONS,
    *simulation.OPERATIONS,
    *user.OPERATIONS,
)
