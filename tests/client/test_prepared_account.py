"""The fixture `prepared`."""

from __future__ import annotations

import pytest
from support.prepared_account import PreparedAccount

from skylift.client.job.settings import Settings
from skylift.client.launch.bucket import ensure_bucket
from skylift.client.launch.network import find_network
from skylift.client.remote.api import Api


def test_an_account_that_has_something_is_not_prepared(
    settings: Settings, api: Api, kept_account: PreparedAccount
) -> None:
    """Whether it kept that, or lost it, depended on which test was the first of its process."""
    ensure_bucket(api, "of-a-fixture")
    with pytest.raises(AssertionError, match="has \\['of-a-fixture'\\]"):
        kept_account.put_back(settings)
    api.call("s3", "delete_bucket", Bucket="of-a-fixture")
    api.call("ec2", "create_key_pair", KeyName="of-a-fixture")
    with pytest.raises(AssertionError, match="has \\['of-a-fixture'\\]"):
        kept_account.put_back(settings)


def test_it_has_a_network_that_is_put_back(settings: Settings, api: Api, prepared: None) -> None:
    assert find_network(api) is not None
