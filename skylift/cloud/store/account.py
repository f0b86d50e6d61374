"""Where settings of the whole account are kept, and the facts about this cloud."""

from __future__ import annotations

from skylift.cloud.domain.account import AccountSettings, CredentialReport, DocumentKey, RoleDeletion
from skylift.cloud.domain.facts import CloudFacts
from skylift.cloud.store.database import Tx
from skylift.cloud.store.mapping import table

table(AccountSettings, "accounts", key=("id",))
table(CredentialReport, "credential_reports", key=("account",))
table(DocumentKey, "document_keys", key=("account",))
table(CloudFacts, "cloud_facts", key=("account",))
table(RoleDeletion, "role_deletions", key=("id",))


def account_of(tx: Tx, account_id: str) -> AccountSettings:
    return tx.get(AccountSettings, id=account_id) or AccountSettings(account_id)


def keep(tx: Tx, account: AccountSettings) -> None:
    if tx.get(AccountSettings, id=account.id) is None:
        tx.add(account)
    else:
        tx.save(account)
