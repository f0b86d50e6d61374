"""CloudWatch over HTTP, by boto3 in each protocol that it may speak, and by the AWS CLI."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.client import Config
from botocore.exceptions import ClientError
from serverless_cloud import Cloud

PROTOCOLS = ("smithy-rpc-v2-cbor", "json", "query")


def speaking(cloud: Cloud, protocol: str, secret: str = "") -> Any:
    """A client that knows of no other protocol, as older ones know none but `query`."""
    session = boto3.Session(cloud.key, secret or cloud.secret, region_name="us-east-1")
    loader = session._session.get_component("data_loader")
    load = loader.load_service_model

    def with_one_protocol(service: str, kind: str, api_version: Any = None) -> Any:
        model = load(service, kind, api_version)
        if kind == "service-2":
            model = {**model, "metadata": {**model["metadata"], "protocols": [protocol], "protocol": protocol}}
        return model

    loader.load_service_model = with_one_protocol
    config = Config(retries={"total_max_attempts": 1}, proxies={})
    return session.client("cloudwatch", endpoint_url=cloud.url, config=config)


@pytest.fixture(params=[str(Path(sys.executable).parent), "/usr/bin"], ids=["of the index", "of the distribution"])
def aws_cli(request: pytest.FixtureRequest) -> str:
    program = shutil.which("aws", path=request.param)
    if program is None:
        pytest.skip("no such AWS CLI here")
    return program


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_values_go_there_and_come_back(cloud: Cloud, protocol: str) -> None:
    client = speaking(cloud, protocol)
    assert client.meta.service_model.resolved_protocol == protocol
    now = datetime.now(UTC).replace(microsecond=0)
    dimensions = [{"Name": "Door", "Value": "Süd"}]
    datum = {"MetricName": "Orders", "Value": 2.5, "Timestamp": now, "Dimensions": dimensions, "Unit": "Count"}
    client.put_metric_data(Namespace="Shop", MetricData=[datum, {**datum, "Value": 4}])
    found = client.get_metric_statistics(
        Namespace="Shop",
        MetricName="Orders",
        Dimensions=dimensions,
        StartTime=now - timedelta(minutes=5),
        EndTime=now + timedelta(minutes=5),
        Period=60,
        Statistics=["Sum", "SampleCount"],
    )["Datapoints"]
    assert found == [{"Timestamp": now.replace(second=0), "Sum": 6.5, "SampleCount": 2.0, "Unit": "Count"}]
    pages = client.get_paginator("list_metrics").paginate(Namespace="Shop")
    metric = {"Namespace": "Shop", "MetricName": "Orders", "Dimensions": dimensions}
    assert list(pages.search("Metrics")) == [metric]
    query = {"Id": "a", "MetricStat": {"Metric": metric, "Period": 60, "Stat": "Maximum"}}
    window = {"StartTime": now - timedelta(minutes=5), "EndTime": now + timedelta(minutes=5)}
    (series,) = client.get_metric_data(MetricDataQueries=[query], **window)["MetricDataResults"]
    assert (series["Timestamps"], series["Values"]) == ([now.replace(second=0)], [4.0])


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_an_alarm_is_waited_for(cloud: Cloud, protocol: str) -> None:
    client = speaking(cloud, protocol)
    client.put_metric_alarm(
        AlarmName="busy",
        Namespace="Shop",
        MetricName="Orders",
        Statistic="Average",
        Period=60,
        EvaluationPeriods=2,
        Threshold=0.5,
        ComparisonOperator="GreaterThanThreshold",
    )
    client.get_waiter("alarm_exists").wait(AlarmNames=["busy"])
    (alarm,) = client.describe_alarms()["MetricAlarms"]
    assert (alarm["Threshold"], alarm["StateValue"], alarm["ActionsEnabled"]) == (0.5, "INSUFFICIENT_DATA", True)
    client.set_alarm_state(AlarmName="busy", StateValue="OK", StateReason="by hand")
    pages = client.get_paginator("describe_alarm_history").paginate(AlarmName="busy")
    assert len(list(pages.search("AlarmHistoryItems"))) == 2
    client.delete_alarms(AlarmNames=["busy"])
    with pytest.raises(client.exceptions.ResourceNotFound):
        client.set_alarm_state(AlarmName="busy", StateValue="OK", StateReason="by hand")


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_errors_have_the_codes_that_they_always_had(cloud: Cloud, protocol: str) -> None:
    client = speaking(cloud, protocol)
    with pytest.raises(client.exceptions.InvalidParameterValueException) as raised:
        client.put_metric_data(Namespace="AWS/EC2", MetricData=[{"MetricName": "a", "Value": 1}])
    assert raised.value.response["Error"]["Code"] == "InvalidParameterValue"
    assert raised.value.response["ResponseMetadata"]["HTTPStatusCode"] == 400
    assert raised.value.response["ResponseMetadata"]["RequestId"]
    with pytest.raises(ClientError, match="Expression") as refused:
        client.get_metric_data(MetricDataQueries=[{"Id": "a", "Expression": "b"}], StartTime=0, EndTime=1)
    assert refused.value.response["Error"]["Code"] == "InvalidAction"
    with pytest.raises(ClientError, match="GetDashboard") as missing:
        client.get_dashboard(DashboardName="a")
    assert missing.value.response["Error"]["Code"] == "InvalidAction"


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_wrong_secret_is_refused(cloud: Cloud, protocol: str) -> None:
    client = speaking(cloud, protocol, secret="x" * 40)
    with pytest.raises(ClientError) as raised:
        client.list_metrics()
    assert raised.value.response["Error"]["Code"] == "SignatureDoesNotMatch"
    assert raised.value.response["ResponseMetadata"]["HTTPStatusCode"] == 403


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_request_that_is_made_smaller(cloud: Cloud, protocol: str) -> None:
    """boto3 compresses what is longer than ten kilobytes."""
    client = speaking(cloud, protocol)
    client.put_metric_data(
        Namespace="Shop", MetricData=[{"MetricName": f"metric-{number}", "Value": number} for number in range(400)]
    )
    assert len(list(client.get_paginator("list_metrics").paginate().search("Metrics"))) == 400


def test_the_aws_cli(cloud: Cloud, tmp_path: Path, aws_cli: str) -> None:
    def aws(*arguments: str) -> Any:
        done = subprocess.run(
            [aws_cli, "cloudwatch", *arguments, "--output", "json"],
            env=cloud.environment(tmp_path),
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout or "null")

    now = datetime.now(UTC)
    start, end = (now - timedelta(minutes=5)).isoformat(), (now + timedelta(minutes=5)).isoformat()
    aws("put-metric-data", "--namespace", "Shop", "--metric-name", "Orders", "--value", "3", "--unit", "Count")
    assert [metric["MetricName"] for metric in aws("list-metrics", "--namespace", "Shop")["Metrics"]] == ["Orders"]
    question = ("--namespace", "Shop", "--metric-name", "Orders", "--period", "300", "--statistics", "Average")
    (found,) = aws("get-metric-statistics", *question, "--start-time", start, "--end-time", end)["Datapoints"]
    assert (found["Average"], found["Unit"]) == (3.0, "Count")
