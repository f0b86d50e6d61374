"""The sealed half of EC2's denials, and DecodeAuthorizationMessage."""

from __future__ import annotations

import json
from typing import Any

import pytest
from identity_fixtures import ACCOUNT, Account, allow, deny, refused

from skylift.cloud.domain.error import ServiceError
from skylift.cloud.domain.identity import Caller
from skylift.cloud.services.api.authorize import authorize
from skylift.cloud.services.api.operation import Check

INSTANCE = f"arn:aws:ec2:us-east-1:{ACCOUNT}:instance/i-1"
MARK = "Encoded authorization failure message: "


def denial(account: Account, caller: Caller, check: Check) -> str:
    with account.database.read() as tx, pytest.raises(ServiceError) as caught:
        authorize(tx, caller, [check], service="ec2")
    assert (caught.value.code, caught.value.status) == ("UnauthorizedOperation", 403)
    return caught.value.message


def decoded(account: Account, message: str, **params: Any) -> dict[str, Any]:
    answer = account.call("sts", "DecodeAuthorizationMessage", EncodedMessage=message.partition(MARK)[2], **params)
    found: dict[str, Any] = json.loads(answer["DecodedMessage"])
    return found


def test_a_denial_carries_the_question_sealed(account: Account) -> None:
    ann = account.user("ann", allow("s3:*"))
    message = denial(account, ann, Check("ec2:StopInstances", INSTANCE, {"ec2:ResourceTag/a": "b", "x:y": ("1", "2")}))
    assert "ec2:StopInstances action. Encoded" in message
    assert "ResourceTag" not in message
    found = decoded(account, message)
    assert (found["allowed"], found["explicitDeny"]) == (False, False)
    asked = found["context"]
    assert asked["principal"] == {"id": ann.user_id, "name": "ann", "arn": ann.arn}
    assert (asked["action"], asked["resource"]) == ("ec2:StopInstances", INSTANCE)
    conditions = {
        one["key"]: [item["value"] for item in one["values"]["items"]] for one in asked["conditions"]["items"]
    }
    assert conditions["ec2:ResourceTag/a"] == ["b"]
    assert conditions["x:y"] == ["1", "2"]
    assert conditions["aws:username"] == ["ann"]


def test_an_explicit_deny_is_told(account: Account) -> None:
    role = account.role("job", allow("*"), deny("ec2:StopInstances"))
    assert decoded(account, denial(account, role, Check("ec2:StopInstances", INSTANCE)))["explicitDeny"] is True


def test_what_asks_for_no_resource_has_no_message(account: Account) -> None:
    assert MARK not in denial(account, account.user("ann"), Check("ec2:DescribeInstances", "*"))


def test_decoding_takes_permission_and_a_message_of_this_cloud(account: Account) -> None:
    ann = account.user("ann")
    message = denial(account, ann, Check("ec2:StopInstances", INSTANCE))
    with refused("AccessDenied", "sts:DecodeAuthorizationMessage"):
        decoded(account, message, caller=ann)
    bob = account.user("bob", allow("sts:DecodeAuthorizationMessage"))
    assert decoded(account, message, caller=bob)["context"]["principal"]["name"] == "ann"
    sealed = message.partition(MARK)[2]
    changed = ("B" if sealed[30] == "A" else "A").join((sealed[:30], sealed[31:]))
    for wrong in (changed, sealed[:-4], "nothing", "ünknown"):
        with refused("InvalidAuthorizationMessageException"):
            decoded(account, MARK + wrong)
