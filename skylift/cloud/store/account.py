"""Where settings of the whole account are kept, and the facts about this cloud."""

from __future__ import annotations

from skylift.cloud.domain.account import Account, CredentialReport, DocumentKey, RoleDeletion
from skylift.cloud.domain.facts import CloudFacts
from skylift.cloud.store.database import Tx
from skylift.cloud.store.mapping import table

table(Account, "accounts", key=("id",))
table(CredentialReport, "credential_reports", key=("account",))
table(DocumentKey, "document_keys", key=("account",))
table(CloudFacts, "cloud_facts", key=("account",))
table(RoleDeletion, "role_deletions", key=("id",))


def account_of(tx: Tx, account_id: str) -> Account:
    return tx.get(Account, id=account_id) or Account(account_id)


def keep(tx: Tx, account: Account) -> None:
    if tx.get(Account, id=account.id) is None:
        tx.add(account)
    else:
        tx.save(account)
