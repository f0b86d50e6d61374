"""Users and roles that policies name: by their ARN while they live, and by nobody's name afterwards.

On AWS the ARN in a Principal "transforms to the unique principal ID when you save the policy", and is shown as the ARN
for as long as its holder lives. A user made again under the old name is not meant; a user that is renamed still is.
Here the text of a policy keeps the ARN, and follows it: what happens to the holder happens to the policies too.

https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_principal.html
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from skylift.cloud.domain.bucket import BucketPolicy
from skylift.cloud.domain.identity import Role, User
from skylift.cloud.services.api.iam_rules import new_id
from skylift.cloud.store.database import Tx
from skylift.cloud.store.identity import bucket_policies_with, endpoints_with, trust_policies_with

Change = Callable[[str], str]
"""A principal -> the principal that policies show from now on."""


def principal_deleted(tx: Tx, holder: User | Role) -> None:
    """Replaces the ARN of a deleted user or role in policies by its unique id, which is never given again."""
    _change(tx, holder, _to_id(holder, holder.id))


def principal_created(tx: Tx, holder: User | Role) -> None:
    """Policies that name this ARN already mean an earlier holder: a policy cannot name one that does not exist.

    That holder was deleted by a version of skylift that left the policies as they were.
    """
    _change(tx, holder, _to_id(holder, new_id("AIDA" if isinstance(holder, User) else "AROA")))


def principal_renamed(tx: Tx, user: User, renamed: User) -> None:
    principal_created(tx, renamed)
    _change(tx, user, lambda principal: renamed.arn if principal == user.arn else principal)


def _to_id(holder: User | Role, unique_id: str) -> Change:
    """A session of a role is a principal too: `AROA...:SESSION` once the role is gone."""
    account = holder.arn.split(":")[4]
    session = f"arn:aws:sts::{account}:assumed-role/{holder.name}/"

    def changed(principal: str) -> str:
        if isinstance(holder, Role) and principal.startswith(session):
            return f"{unique_id}:{principal.removeprefix(session)}"
        return unique_id if principal == holder.arn else principal

    return changed


def _change(tx: Tx, holder: User | Role, change: Change) -> None:
    for role in trust_policies_with(tx, holder.name):
        if (text := _changed(role.trust_policy, change)) != role.trust_policy:
            tx.save(replace(role, trust_policy=text))
    for policy in bucket_policies_with(tx, holder.name):
        if (text := _changed(policy.document, change)) != policy.document:
            tx.save(BucketPolicy(policy.bucket, text))
    for endpoint in endpoints_with(tx, holder.name):
        if (text := _changed(endpoint.policy, change)) != endpoint.policy:
            tx.save(replace(endpoint, policy=text))


def _changed(text: str, change: Change) -> str:
    """The document with other principals; to the letter as it was where they stay as they are."""
    # Numbers as they are written: a policy's reader takes both forms.
    document = json.loads(text, parse_int=str, parse_float=str)
    listed = document["Statement"]
    found = False
    for statement in listed if isinstance(listed, list) else [listed]:
        for element in ("Principal", "NotPrincipal"):
            principals: Any = statement.get(element)
            if not isinstance(principals, dict) or "AWS" not in principals:
                continue
            given = principals["AWS"]
            made = [change(each) for each in given] if isinstance(given, list) else change(given)
            found = found or made != given
            principals["AWS"] = made
    return json.dumps(document) if found else text
