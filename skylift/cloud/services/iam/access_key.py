"""Access keys of users: made, listed, switched off and removed.

The keys of the account's root are not to be changed here: they are what `skylift cloud env` hands out.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING

from skylift.cloud.domain.identity import AccessKey, Caller, User
from skylift.cloud.services.api.iam_rules import invalid_input, invalid_value, no_such, over_quota, page_of
from skylift.cloud.services.api.operation import Check, Nothing
from skylift.cloud.services.iam import user as users
from skylift.cloud.services.iam.identity import make_user_key
from skylift.cloud.services.iam.operation import PAGES, reads
from skylift.cloud.services.iam.user import ON_USER
from skylift.cloud.store.database import Tx

if TYPE_CHECKING:
    from aws_shapes import iam

MAX_KEYS = 2


def create(tx: Tx, caller: Caller, params: iam.CreateAccessKeyRequest) -> iam.CreateAccessKeyResponse:
    """The only answer that ever contains the secret."""
    user = _user(tx, caller, params)
    if len(tx.find(AccessKey, user=user.name)) >= MAX_KEYS:
        raise over_quota("AccessKeysPerUser", MAX_KEYS)
    key = make_user_key(tx, user)
    return {"AccessKey": {**_described(key), "UserName": user.name, "SecretAccessKey": key.secret}}


def list_all(tx: Tx, caller: Caller, params: iam.ListAccessKeysRequest) -> iam.ListAccessKeysResponse:
    """Without a name: the caller's own, also those of the account's root."""
    own_of_root = "UserName" not in params and caller.kind == "root"
    owner = None if own_of_root else users.existing(tx, users.named_or_own(caller, params)).name
    keys, more = page_of(params, tx.find(AccessKey, user=owner), lambda key: key.id)
    shown = [_described(key) for key in keys]
    if owner is not None:
        shown = [{"UserName": owner, **one} for one in shown]
    return {"AccessKeyMetadata": shown, **more}


def update(tx: Tx, caller: Caller, params: iam.UpdateAccessKeyRequest) -> Nothing:
    status = params["Status"]
    if status not in ("Active", "Inactive"):
        raise invalid_value(status, "status", "satisfy enum value set: [Active, Inactive]")
    tx.save(replace(_existing(tx, caller, params), active=status == "Active"))
    return {}


def delete(tx: Tx, caller: Caller, params: iam.DeleteAccessKeyRequest) -> Nothing:
    tx.remove(_existing(tx, caller, params))
    return {}


def last_used(tx: Tx, _caller: Caller, params: iam.GetAccessKeyLastUsedRequest) -> iam.GetAccessKeyLastUsedResponse:
    """To the minute; a key that was never used has `N/A` for service and region."""
    key = tx.get(AccessKey, id=params["AccessKeyId"])
    if key is None or key.user is None:
        raise no_such(f"Access Key with id {params['AccessKeyId']}")
    used: iam.AccessKeyLastUsed = {"ServiceName": "N/A", "Region": "N/A"}
    if key.used is not None:
        service, region = key.used_service or "N/A", key.used_region or "N/A"
        used = {"LastUsedDate": key.used, "ServiceName": service, "Region": region}
    return {"UserName": key.user, "AccessKeyLastUsed": used}


def check_last_used(tx: Tx, caller: Caller, params: iam.GetAccessKeyLastUsedRequest) -> Iterable[Check]:
    """Authorised against the user whose key it is."""
    key = tx.get(AccessKey, id=params["AccessKeyId"])
    user = tx.get(User, name=key.user) if key and key.user else None
    return [Check("iam:GetAccessKeyLastUsed", user.arn if user else users.arn_of(caller, "*"))]


def _user(
    tx: Tx, caller: Caller, params: iam.CreateAccessKeyRequest | iam.DeleteAccessKeyRequest | iam.UpdateAccessKeyRequest
) -> User:
    if "UserName" not in params and caller.kind == "root":
        raise invalid_input(
            "The access key of this account's root is made by `skylift cloud up` and cannot be changed. "
            "Name a user with UserName."
        )
    return users.existing(tx, users.named_or_own(caller, params))


def _existing(tx: Tx, caller: Caller, params: iam.DeleteAccessKeyRequest | iam.UpdateAccessKeyRequest) -> AccessKey:
    user = _user(tx, caller, params)
    key = tx.get(AccessKey, id=params["AccessKeyId"])
    if key is None or key.user != user.name:
        raise no_such(f"Access Key with id {params['AccessKeyId']}")
    return key


def _described(key: AccessKey) -> iam.AccessKeyMetadata:
    return {"AccessKeyId": key.id, "Status": "Active" if key.active else "Inactive", "CreateDate": key.created}


OPERATIONS = (
    ON_USER.writes("CreateAccessKey", create),
    ON_USER.reads("ListAccessKeys", list_all, PAGES),
    ON_USER.writes("UpdateAccessKey", update, "AccessKeyId Status"),
    ON_USER.writes("DeleteAccessKey", delete, "AccessKeyId"),
    reads("GetAccessKeyLastUsed", last_used, "AccessKeyId", check_last_used),
)
