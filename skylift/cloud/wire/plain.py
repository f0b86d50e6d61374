"""The two answers for people: what this server is, and which address they come from."""

from __future__ import annotations

from skylift.cloud.wire.call import Request, Response

ABOUT = """\
This is skylift's embedded EC2: the AWS APIs of EC2, IAM, STS, S3, CloudWatch and parameters for servers on this
machine.

Use it with the AWS CLI or any AWS SDK; `skylift cloud env` prints the settings for your shell.
"""

# No bucket can have this name, so no object is hidden behind it.
ADDRESS = "/_skylift/ip"


def plain_answer(request: Request) -> Response | None:
    """The answer to a person's request; None for everything that is an API's."""
    if request.method not in ("GET", "HEAD") or request.header("authorization"):
        return None
    if request.target == "/":
        return _text(ABOUT, request)
    if request.target == ADDRESS:
        return _text(f"{request.source_ip}\n", request)
    return None


def _text(text: str, request: Request) -> Response:
    body = text.encode("utf-8")
    headers = {"Content-Type": "text/plain; charset=utf-8"}
    if request.method == "HEAD":
        return Response(200, {**headers, "Content-Length": str(len(body))})
    return Response(200, headers, body)
