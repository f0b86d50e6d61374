"""`skylift cloud bill`: what the servers of the embedded EC2 would have cost on AWS."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Annotated, Any

import typer

from skylift.cli.say import say, say_json

SHOWN = Decimal("0.0001")


def register(cloud: typer.Typer) -> None:
    cloud.command("bill")(bill)


def bill(
    by: Annotated[
        str | None,
        typer.Option(metavar="WHAT", help="Group by instance, option, type, or tag:KEY.", show_default=False),
    ] = None,
    since: Annotated[
        str | None,
        typer.Option(
            "--from", metavar="TIME", help="2026-11-01, 2026-11-25T18:00, or 24h: 24 hours ago.", show_default=False
        ),
    ] = None,
    until: Annotated[
        str | None, typer.Option("--to", metavar="TIME", help="Same forms as --from; default: now.", show_default=False)
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print everything as one JSON object.")] = False,
) -> None:
    """Show what servers, disks and addresses of this month would have cost on AWS.

    Use is counted to the second, and reserved hours are applied. Prices without a source are shown as unknown.
    Times are UTC.
    """
    from skylift.place.control import Control

    asked = {**_grouping(by), **_time("From", "--from", since), **_time("To", "--to", until)}
    found = Control().call("get_bill", **asked)
    if as_json:
        say_json(_as_json(found))
    else:
        _show(found, by)


def _grouping(by: str | None) -> dict[str, Any]:
    from skylift.client.errors import UsageError

    if by is None:
        return {}
    if by.startswith("tag:") and len(by) > len("tag:"):
        return {"GroupBy": "tag", "TagKey": by.removeprefix("tag:")}
    if by not in ("instance", "option", "type"):
        raise UsageError(f"--by {by!r} is not known.", "It is one of instance, option, type and tag:KEY.")
    return {"GroupBy": by}


def _time(name: str, option: str, text: str | None) -> dict[str, datetime]:
    """UTC, unless the text says otherwise; a duration is so long ago."""
    from skylift.client.errors import UsageError
    from skylift.client.text.duration import parse_duration

    if text is None:
        return {}
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        try:
            return {name: datetime.now(UTC) - timedelta(seconds=parse_duration(text, option))}
        except (UsageError, OverflowError):
            raise UsageError(
                f"{option} {text!r} is not a time.", "Write it like 2026-11-01, 2026-11-25T18:00 or 24h."
            ) from None
    return {name: moment if moment.tzinfo else moment.replace(tzinfo=UTC)}


def _as_json(found: dict[str, Any]) -> dict[str, Any]:
    """Amounts as text: a float would not add up."""
    return {
        "from": _spelled(found["From"]),
        "to": _spelled(found["To"]),
        "region": found["RegionName"],
        "currency": found["CurrencyCode"],
        "total": found["Total"],
        "unpriced_lines": found["UnpricedLines"],
        "prices_as_of": {one["Option"]: {"date": one["Date"], "source": one["Source"]} for one in found["PricesAsOf"]},
        "groups": [
            {"key": one["Key"], "amount": one["Amount"], "unpriced_lines": one["UnpricedLines"]}
            for one in found["Groups"]
        ],
        "lines": [
            {
                "resource": one["ResourceId"],
                "instance": one.get("InstanceId"),
                "option": one["Option"],
                "type": one["Type"],
                "seconds": one["Seconds"],
                "price": one.get("Price"),
                "price_unit": one["PriceUnit"],
                "amount": one.get("Amount"),
                "reserved_instances": one.get("ReservedInstancesId"),
                "tags": {tag["Key"]: tag["Value"] for tag in one["Tags"]},
            }
            for one in found["Lines"]
        ],
    }


def _show(found: dict[str, Any], by: str | None) -> None:
    from skylift.cli.table import Column, show_table

    amounts = shown([Decimal(one["Amount"]) if "Amount" in one else None for one in found["Groups" if by else "Lines"]])
    if by:
        rows = [(_key(one), amount) for one, amount in zip(found["Groups"], amounts, strict=True)]
        show_table((Column(by.upper(), least=20), Column("USD", right=True)), rows)
    else:
        lines = [_row(one, amount) for one, amount in zip(found["Lines"], amounts, strict=True)]
        words = (Column("RESOURCE", least=12), Column("TYPE"), Column("OPTION", least=9))
        show_table((*words, *(Column(name, right=True) for name in ("HOURS", "USD/H", "USD"))), lines)
    total = shown([Decimal(found["Total"])])[0]
    say("", f"Total: USD {total} from {_spelled(found['From'])} to {_spelled(found['To'])}, {found['RegionName']}")
    if found["UnpricedLines"]:
        say(f"What is unknown is not in it; no source has a price for that. Lines: {found['UnpricedLines']}.")
    dates = ", ".join(f"{one['Option']} {one['Date']}" for one in found["PricesAsOf"])
    say(f"Prices as of: {dates or 'none for this region'}. Transfers, snapshots and requests are not counted.")


def _key(one: dict[str, Any]) -> str:
    name = one["Key"] or "(none)"
    return f"{name} (not all of it has a price)" if one["UnpricedLines"] else name


def _row(one: dict[str, Any], amount: str) -> tuple[str, ...]:
    price = f"{Decimal(one['Price']).normalize():f}" if "Price" in one else "unknown"
    return (
        one["ResourceId"],
        one["Type"] or "-",
        one["Option"],
        f"{one['Seconds'] / 3600:.3f}",
        price + ("/month" if one["PriceUnit"] == "month" else ""),
        amount,
    )


def shown(amounts: Iterable[Decimal | None]) -> list[str]:
    """Rounded so that they still add up to their rounded sum: what is over goes to those that lost most."""
    exact = list(amounts)
    units = [int(one // SHOWN) if one is not None else 0 for one in exact]
    whole = sum((one for one in exact if one is not None), Decimal(0))
    missing = int((whole / SHOWN).to_integral_value()) - sum(units)
    lost = sorted((one % SHOWN, -at) for at, one in enumerate(exact) if one is not None)
    for _, at in reversed(lost[len(lost) - missing :] if missing else []):
        units[-at] += 1
    return ["unknown" if one is None else f"{unit * SHOWN}" for one, unit in zip(exact, units, strict=True)]


def _spelled(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"
