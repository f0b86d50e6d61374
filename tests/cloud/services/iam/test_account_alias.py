"""The account's alias, as AWS's own account was seen to treat it."""

from __future__ import annotations

import pytest
from identity_fixtures import Account, allow, refused


def aliases(account: Account) -> list[str]:
    found: list[str] = account.iam("ListAccountAliases")["AccountAliases"]
    return found


def test_an_account_has_one_alias_or_none(account: Account) -> None:
    assert aliases(account) == []
    account.iam("CreateAccountAlias", AccountAlias="web-shop")
    assert account.iam("ListAccountAliases", MaxItems=1) == {"AccountAliases": ["web-shop"], "IsTruncated": False}
    account.iam("CreateAccountAlias", AccountAlias="web-shop-2")
    assert aliases(account) == ["web-shop-2"]
    with refused("NoSuchEntity", "web-shop", status=404):
        account.iam("DeleteAccountAlias", AccountAlias="web-shop")
    account.iam("DeleteAccountAlias", AccountAlias="web-shop-2")
    assert aliases(account) == []


def test_the_same_alias_again_is_taken(account: Account) -> None:
    account.iam("CreateAccountAlias", AccountAlias="web-shop")
    with refused("EntityAlreadyExists", "The account alias web-shop already exists.", status=409):
        account.iam("CreateAccountAlias", AccountAlias="web-shop")


@pytest.mark.parametrize("alias", ["-shop", "shop-", "web--shop", "Shop", "we.b", "123456789012"])
def test_what_is_no_alias(account: Account, alias: str) -> None:
    with refused("ValidationError", "accountAlias"):
        account.iam("CreateAccountAlias", AccountAlias=alias)


def test_it_needs_permission(account: Account) -> None:
    ann = account.user("ann", allow("iam:ListAccountAliases"))
    assert account.iam("ListAccountAliases", caller=ann)["AccountAliases"] == []
    with refused("AccessDenied", "iam:CreateAccountAlias"):
        account.iam("CreateAccountAlias", caller=ann, AccountAlias="web-shop")
