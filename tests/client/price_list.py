"""A Pricing API as far as GetProducts goes: what AWS's answers look like, with figures that a test gives.

https://docs.aws.amazon.com/aws-cost-management/latest/APIReference/API_pricing_GetProducts.html
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

PAGE = 2


def product(name: str, region: str, hourly: str, tenancy: str = "Shared", **more: Any) -> dict[str, Any]:
    """`more` may say `commitments`: (length, offering class, payment, hourly, beforehand), and other attributes."""
    commitments = more.pop("commitments", [])
    return {
        "product": {
            "productFamily": "Compute Instance",
            "attributes": {
                "instanceType": name,
                "regionCode": region,
                "tenancy": tenancy,
                "operatingSystem": "Linux",
                "preInstalledSw": "NA",
                "capacitystatus": "Used",
                "licenseModel": "No License required",
                "servicecode": "AmazonEC2",
                **more,
            },
            "sku": f"SKU{name}{tenancy}",
        },
        "serviceCode": "AmazonEC2",
        "terms": {
            "OnDemand": {"SKU.JRTCKXETXF": term({}, Hrs=hourly)},
            **(
                {"Reserved": {f"SKU.{i}": committed(*each) for i, each in enumerate(commitments)}}
                if commitments
                else {}
            ),
        },
    }


def committed(length: str, offering: str, payment: str, hourly: str, beforehand: str) -> dict[str, Any]:
    said = {"LeaseContractLength": length, "OfferingClass": offering, "PurchaseOption": payment}
    paid = {} if payment == "No Upfront" else {"Quantity": beforehand}
    return term(said, Hrs=hourly, **paid)


def term(said: dict[str, str], **units: str) -> dict[str, Any]:
    dimensions = {
        f"SKU.{unit}": {"unit": unit, "pricePerUnit": {"USD": price}, "appliesTo": []} for unit, price in units.items()
    }
    return {"priceDimensions": dimensions, "termAttributes": said, "offerTermCode": "X"}


@contextmanager
def price_list(products: list[dict[str, Any]]) -> Iterator[str]:
    """The endpoint's URL. It answers a few products a page, and only those that fit the filters."""

    class Answer(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            assert self.headers["X-Amz-Target"] == "AWSPriceListService.GetProducts"
            wanted = {each["Field"]: each["Value"] for each in asked["Filters"]}
            found = [
                each for each in products if all(each["product"]["attributes"].get(k) == v for k, v in wanted.items())
            ]
            start = int(asked.get("NextToken", 0))
            answer: dict[str, Any] = {
                "FormatVersion": "aws_v1",
                "PriceList": [json.dumps(each) for each in found[start : start + PAGE]],
            }
            if start + PAGE < len(found):
                answer["NextToken"] = str(start + PAGE)
            body = json.dumps(answer).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/x-amz-json-1.1")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Answer)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
