"""How a row of EventBridge Scheduler is made, and what its refusals have in common."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from skylift.cloud.domain.error import ServiceError
from skylift.cloud.domain.identity import Caller
from skylift.cloud.domain.schedule import ScheduleToken
from skylift.cloud.services.api.client_token import Repeatable, digest_of
from skylift.cloud.services.api.operation import Rows
from skylift.cloud.services.api.page_token import Next, Paged, leads_to, read_token
from skylift.cloud.store.database import Tx
from skylift.cloud.store.schedule import forget_tokens

MOST_LISTED = 100

Item = TypeVar("Item")


_ROWS = Rows("scheduler", "scheduler")
reads, writes = _ROWS.reads, _ROWS.writes


def group_arn(caller: Caller, name: str) -> str:
    return f"arn:aws:scheduler:{caller.region}:{caller.account}:schedule-group/{name}"


def schedule_arn(caller: Caller, group: str, name: str) -> str:
    return f"arn:aws:scheduler:{caller.region}:{caller.account}:schedule/{group}/{name}"


def invalid(message: str) -> ServiceError:
    return ServiceError("ValidationException", message)


def conflict(message: str) -> ServiceError:
    return ServiceError("ConflictException", message)


def not_found(message: str) -> ServiceError:
    return ServiceError("ResourceNotFoundException", message)


def once(
    tx: Tx,
    operation: str,
    params: Repeatable,
    act: Callable[[], str],
    stands: Callable[[str], bool] = lambda result: True,
) -> str:
    """What `act` answers; what it answered before, where this very request came before and the answer still stands."""
    token = params.get("ClientToken")
    if token is None:
        return act()
    known = tx.get(ScheduleToken, operation=operation, token=token)
    if known is not None and stands(known.result):
        if known.digest != digest_of(params):
            raise conflict("This ClientToken was used for a request with other parameters.")
        return known.result
    forget_tokens(tx)
    used = ScheduleToken(operation, token, digest_of(params), act(), tx.now)
    if tx.get(ScheduleToken, operation=operation, token=token) is None:
        tx.add(used)
    else:
        tx.save(used)
    return used.result


def paged(items: list[Item], params: Paged, key: Callable[[Item], str]) -> tuple[list[Item], Next]:
    """By their keys, the page that is asked for, and what leads to the next one."""
    after = read_token(params.get("NextToken"), invalid("Invalid NextToken."))
    rest = sorted((item for item in items if key(item) > after), key=key)
    chosen = rest[: params.get("MaxResults", MOST_LISTED)]
    return chosen, leads_to(key(chosen[-1])) if len(chosen) < len(rest) else {}
