"""The account's quotas: those of vCPUs, which `skylift cloud quota` sets and a launch is refused by.

A class of types without a quota has no bound here, so Service Quotas does not know one. The codes and names are AWS's:
https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/ec2-on-demand-instances.html#ec2-on-demand-instances-limits
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from skylift.cloud.domain.error import ServiceError
from skylift.cloud.domain.identity import Caller
from skylift.cloud.domain.market import Market, VcpuQuota
from skylift.cloud.services.api.operation import Check, Rows
from skylift.cloud.services.api.page_token import leads_to, read_token
from skylift.cloud.store.database import Tx

if TYPE_CHECKING:
    from aws_shapes import service_quotas

EC2 = "ec2"
MOST_LISTED = 100
_LETTERS = "(A, C, D, H, I, M, R, T, Z)"


@dataclass(frozen=True)
class Code:
    """A quota of AWS's, and which of ours it is."""

    code: str
    name: str
    family: str
    market: Market
    metric: str


CODES = (
    Code("L-1216C47A", f"Running On-Demand Standard {_LETTERS} instances", "standard", "on-demand", "Standard"),
    Code("L-74FC7D96", "Running On-Demand F instances", "f", "on-demand", "F"),
    Code("L-DB2E81BA", "Running On-Demand G and VT instances", "g", "on-demand", "G"),
    Code("L-417A185B", "Running On-Demand P instances", "p", "on-demand", "P"),
    Code("L-7295265B", "Running On-Demand X instances", "x", "on-demand", "X"),
    Code("L-1945791B", "Running On-Demand Inf instances", "inf", "on-demand", "Inf"),
    Code("L-2C3B7624", "Running On-Demand Trn instances", "trn", "on-demand", "Trn"),
    Code("L-6E869C2A", "Running On-Demand DL instances", "dl", "on-demand", "DL"),
    Code("L-F7808C92", "Running On-Demand HPC instances", "hpc", "on-demand", "HPC"),
    Code("L-43DA4232", "Running On-Demand High Memory instances", "u", "on-demand", "HighMem"),
    Code("L-34B43A08", f"All Standard {_LETTERS} Spot Instance Requests", "standard", "spot", "Standard"),
    Code("L-88CF9481", "All F Spot Instance Requests", "f", "spot", "F"),
    Code("L-3819A6DF", "All G and VT Spot Instance Requests", "g", "spot", "G"),
    Code("L-7212CCBC", "All P4, P3 and P2 Spot Instance Requests", "p", "spot", "P"),
    Code("L-E3A00192", "All X Spot Instance Requests", "x", "spot", "X"),
    Code("L-B5D1601B", "All Inf Spot Instance Requests", "inf", "spot", "Inf"),
    Code("L-6B0D517C", "All Trn Spot Instance Requests", "trn", "spot", "Trn"),
    Code("L-85EED4F7", "All DL Spot Instance Requests", "dl", "spot", "DL"),
)
_BY_CODE = {each.code: each for each in CODES}


def get(
    tx: Tx,
    caller: Caller,
    params: service_quotas.GetServiceQuotaRequest | service_quotas.GetAWSDefaultServiceQuotaRequest,
) -> service_quotas.GetServiceQuotaResponse | service_quotas.GetAWSDefaultServiceQuotaResponse:
    """Nobody grants an increase here: what is set is the default, too."""
    return {"Quota": _view(caller, *_find(tx, params["ServiceCode"], params["QuotaCode"]))}


def list_quotas(
    tx: Tx, caller: Caller, params: service_quotas.ListServiceQuotasRequest
) -> service_quotas.ListServiceQuotasResponse:
    if params["ServiceCode"] != EC2:
        raise _unknown_service(params["ServiceCode"])
    known = [(each, quota) for each in CODES if (quota := _set(tx, each)) is not None]
    if "QuotaCode" in params:
        known = [(each, quota) for each, quota in known if each.code == params["QuotaCode"]]
    after = read_token(params.get("NextToken"), ServiceError("InvalidPaginationTokenException", "Invalid NextToken."))
    rest = sorted(((each, quota) for each, quota in known if each.code > after), key=lambda pair: pair[0].code)
    chosen = rest[: params.get("MaxResults", MOST_LISTED)]
    more = leads_to(chosen[-1][0].code) if len(chosen) < len(rest) else {}
    return {"Quotas": [_view(caller, each, quota) for each, quota in chosen], **more}


def _find(tx: Tx, service: str, code: str) -> tuple[Code, VcpuQuota]:
    if service != EC2:
        raise _unknown_service(service)
    known = _BY_CODE.get(code)
    quota = None if known is None else _set(tx, known)
    if known is None or quota is None:
        spot = " --spot" if known is not None and known.market == "spot" else ""
        how = f" To set it here: skylift cloud quota {known.family} VCPUS{spot}" if known is not None else ""
        raise _no_such(f"There is no service quota {code} of {service}.{how}")
    return known, quota


def _set(tx: Tx, code: Code) -> VcpuQuota | None:
    return tx.get(VcpuQuota, family=code.family, market=code.market)


def _no_such(message: str) -> ServiceError:
    return ServiceError("NoSuchResourceException", message)


def _unknown_service(service: str) -> ServiceError:
    return _no_such(f"There are no quotas of the service {service}.")


def _view(caller: Caller, code: Code, quota: VcpuQuota) -> service_quotas.ServiceQuota:
    return {
        "ServiceCode": EC2,
        "ServiceName": "Amazon Elastic Compute Cloud (Amazon EC2)",
        "QuotaArn": _arn(caller, EC2, code.code),
        "QuotaCode": code.code,
        "QuotaName": code.name,
        "Value": float(quota.vcpus),
        "Unit": "None",
        "Adjustable": True,
        "GlobalQuota": False,
        "QuotaAppliedAtLevel": "ACCOUNT",
        "UsageMetric": {
            "MetricNamespace": "AWS/Usage",
            "MetricName": "ResourceCount",
            "MetricDimensions": {
                "Class": f"{code.metric}/{'OnDemand' if code.market == 'on-demand' else 'Spot'}",
                "Resource": "vCPU",
                "Service": "EC2",
                "Type": "Resource",
            },
            "MetricStatisticRecommendation": "Maximum",
        },
    }


def _arn(caller: Caller, service: str, code: str) -> str:
    return f"arn:aws:servicequotas:{caller.region}:{caller.account}:{service}/{code}"


def _check(_tx: Tx, caller: Caller, params: service_quotas.GetServiceQuotaRequest) -> list[Check]:
    service, code = params["ServiceCode"], params["QuotaCode"]
    return [Check("servicequotas:GetServiceQuota", _arn(caller, service, code), {"servicequotas:service": service})]


_ROWS = Rows("service-quotas", "servicequotas")

OPERATIONS = (
    _ROWS.reads("GetServiceQuota", get, "ServiceCode QuotaCode", _check),
    _ROWS.reads("GetAWSDefaultServiceQuota", get, "ServiceCode QuotaCode"),
    _ROWS.reads("ListServiceQuotas", list_quotas, "ServiceCode QuotaCode MaxResults NextToken"),
)
