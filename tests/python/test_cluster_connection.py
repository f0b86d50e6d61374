"""What the client of a cluster hears of its scheduler."""

from __future__ import annotations

from typing import Any

import pytest

from skylift.python.cluster.connection import ClusterConnection


def test_a_scheduler_that_has_gone_between_two_questions_is_an_error_that_is_expected(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from distributed import Client, LocalCluster

    with LocalCluster(n_workers=0, processes=False, dashboard_address=None) as cluster, Client(cluster) as client:
        connection: Any = ClusterConnection.__new__(ClusterConnection)
        connection._following_client = lambda: client
        assert connection.workers() == []
        # The answer of a client that has lost its scheduler.
        monkeypatch.setattr(client, "scheduler_info", lambda **_: {})
        with pytest.raises(OSError, match="not there"):
            connection.workers()
