"""The account's alias: the one name that it may have in addition to its number.

https://docs.aws.amazon.com/IAM/latest/UserGuide/console-account-alias.html
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING

from skylift.cloud.domain.identity import Caller
from skylift.cloud.services.api.iam_rules import exists, invalid_value, no_such, page_of
from skylift.cloud.services.api.operation import Nothing
from skylift.cloud.services.iam.operation import PAGES, reads, writes
from skylift.cloud.store.account import account_of, keep
from skylift.cloud.store.database import Tx

if TYPE_CHECKING:
    from aws_shapes import iam

_PATTERN = "^[a-z0-9]([a-z0-9]|-(?!-)){1,61}[a-z0-9]$"
_ALIAS = re.compile(_PATTERN, re.ASCII)
_NUMBER = re.compile(r"\d{12}", re.ASCII)


def create(tx: Tx, caller: Caller, params: iam.CreateAccountAliasRequest) -> Nothing:
    """Another alias takes the place of the one there was, as on AWS; the same one again is refused."""
    alias, account = _checked(params), account_of(tx, caller.account)
    if alias == account.alias:
        raise exists(f"The account alias {alias}")
    keep(tx, replace(account, alias=alias))
    return {}


def delete(tx: Tx, caller: Caller, params: iam.DeleteAccountAliasRequest) -> Nothing:
    alias, account = _checked(params), account_of(tx, caller.account)
    if alias != account.alias:
        raise no_such(f"account alias {alias}")
    keep(tx, replace(account, alias=None))
    return {}


def list_all(tx: Tx, caller: Caller, params: iam.ListAccountAliasesRequest) -> iam.ListAccountAliasesResponse:
    alias = account_of(tx, caller.account).alias
    aliases, more = page_of(params, [alias] if alias else [], str)
    return {"AccountAliases": aliases, **more}


def _checked(params: iam.CreateAccountAliasRequest | iam.DeleteAccountAliasRequest) -> str:
    """An alias that looked like an account's number would be taken for one."""
    alias: str = params["AccountAlias"]
    if not 3 <= len(alias) <= 63:
        raise invalid_value(alias, "accountAlias", "have length between 3 and 63")
    if not _ALIAS.fullmatch(alias) or _NUMBER.fullmatch(alias):
        raise invalid_value(alias, "accountAlias", f"satisfy regular expression pattern: {_PATTERN}")
    return alias


OPERATIONS = (
    writes("CreateAccountAlias", create, "AccountAlias"),
    writes("DeleteAccountAlias", delete, "AccountAlias"),
    reads("ListAccountAliases", list_all, PAGES),
)
