"""Objects that a browser opens: a page that a job has left is none of the endpoint's own pages."""

from __future__ import annotations

import base64
import json
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, Page
from serverless_cloud import Cloud

pytestmark = pytest.mark.real
"""It boots nothing; its browser is installed with what servers need."""

BUCKET = "of-a-job"
SCRIPT = """<!doctype html><title>page</title><style>p { color: rgb(1, 2, 3) }</style><p>text</p><script>
let read = "nothing";
try {
    const asked = new XMLHttpRequest();
    asked.open("GET", OTHER, false);
    asked.send();
    read = asked.responseText;
} catch (refused) { read = "refused"; }
let worker = "yes";
try { worker = String(!!navigator.serviceWorker.controller || "yes"); } catch (refused) { worker = "refused"; }
document.title = `ran as ${self.origin}, read ${read}, worker ${worker}`;
</script>"""
DOT = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
DRAWING = b'<svg xmlns="http://www.w3.org/2000/svg" width="3" height="3"><script>document.title = "ran"</script></svg>'


@pytest.fixture
def s3(cloud: Cloud) -> Any:
    """With another object, which only its signature opens."""
    made = cloud.client(signature_version="s3v4")
    made.create_bucket(Bucket=BUCKET)
    made.put_object(Bucket=BUCKET, Key="other", Body=b"secret", ContentType="text/plain")
    return made


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    context = browser.new_context()
    yield context.new_page()
    context.close()


def link(s3: Any, key: str, **more: str) -> str:
    return str(s3.generate_presigned_url("get_object", Params={"Bucket": BUCKET, "Key": key, **more}))


def put_page(s3: Any, key: str, kind: str = "text/html", **more: str) -> None:
    body = SCRIPT.replace("OTHER", json.dumps(link(s3, "other"))).encode()
    s3.put_object(Bucket=BUCKET, Key=key, Body=body, ContentType=kind, **more)


def headers(url: str) -> dict[str, str]:
    with urllib.request.urlopen(url) as answer:
        return {name.lower(): value for name, value in answer.headers.items()}


def test_a_presigned_page_runs_no_script_and_reads_nothing(s3: Any, page: Page) -> None:
    put_page(s3, "page", ContentDisposition="inline")
    page.goto(link(s3, "page"))
    assert page.title() == "page"
    assert page.evaluate("getComputedStyle(document.querySelector('p')).color") == "rgb(1, 2, 3)"
    # Nor where the address asks for it to be shown, or says what it is.
    put_page(s3, "data", "application/octet-stream")
    asked = {"ResponseContentDisposition": "inline", "ResponseContentType": "text/html; charset=utf-8"}
    page.goto(link(s3, "data", **asked))
    assert page.title() == "page"


@pytest.mark.parametrize(
    "kind", ["text/html", "application/xhtml+xml", "image/svg+xml", "Text/XML; x=y", "audio/x+xml"]
)
def test_a_presigned_page_is_saved(s3: Any, page: Page, kind: str) -> None:
    put_page(s3, "page", kind)
    with page.expect_download() as download:
        page.evaluate("address => { location = address }", link(s3, "page"))
    assert download.value.url.startswith("http://127.")
    assert headers(link(s3, "page"))["content-disposition"] == "attachment"


SEVERAL = "text/plain;,text/html", "image/png; x=y,text/html", 'text/csv;x="a", text/html', "video/x;, text/html"
"""Each is one header. Browsers take the last type in it."""


@pytest.mark.parametrize("kind", SEVERAL)
def test_a_page_that_names_another_type_before_its_own_is_a_page(cloud: Cloud, s3: Any, page: Page, kind: str) -> None:
    put_page(s3, "page", kind, ContentDisposition="inline")
    page.goto(link(s3, "page"))
    assert page.title() == "page"
    page.goto(link(s3, "page", ResponseContentType=kind))
    assert page.title() == "page"
    make_public(s3)
    put_page(s3, "page", kind, ACL="public-read")
    page.goto(f"{cloud.url}/{BUCKET}/page")
    assert page.title() == "ran as null, read refused, worker refused"


def make_public(s3: Any) -> None:
    s3.delete_public_access_block(Bucket=BUCKET)
    s3.put_bucket_ownership_controls(Bucket=BUCKET, OwnershipControls={"Rules": [{"ObjectOwnership": "ObjectWriter"}]})


def test_a_public_page_runs_without_the_endpoints_origin(cloud: Cloud, s3: Any, page: Page) -> None:
    make_public(s3)
    put_page(s3, "index.html", ACL="public-read")
    page.goto(f"{cloud.url}/{BUCKET}/index.html")
    assert page.title() == "ran as null, read refused, worker refused"


@pytest.mark.parametrize(("kind", "content"), [("image/png", DOT), ("image/svg+xml", DRAWING)])
def test_pictures_are_shown_in_other_pages(s3: Any, page: Page, kind: str, content: bytes) -> None:
    s3.put_object(Bucket=BUCKET, Key="picture", Body=content, ContentType=kind)
    page.set_content(f'<img src="{link(s3, "picture").replace("&", "&amp;")}">')
    page.wait_for_function("document.querySelector('img').naturalWidth > 0")


@pytest.mark.parametrize("kind", ["image/png", "text/plain", "text/csv; charset=utf-8", "application/pdf", "video/mp4"])
def test_what_no_browser_runs_is_shown_as_before(s3: Any, kind: str) -> None:
    put_page(s3, "shown", kind)
    found = headers(link(s3, "shown"))
    assert {"content-disposition", "content-security-policy"} & found.keys() == set()
    assert found["x-content-type-options"] == "nosniff"


def test_clients_see_an_object_as_it_is(cloud: Cloud, s3: Any) -> None:
    """They copy what they see to the next object, and say that it has changed."""
    put_page(s3, "page")
    for found in (s3.head_object(Bucket=BUCKET, Key="page"), s3.get_object(Bucket=BUCKET, Key="page")):
        assert "ContentDisposition" not in found
        assert "content-security-policy" not in found["ResponseMetadata"]["HTTPHeaders"]
    put_page(s3, "named", ContentDisposition='attachment; filename="of a job.html"')
    assert headers(link(s3, "named"))["content-disposition"] == 'attachment; filename="of a job.html"'


OTHERWISE = {
    "as it was signed": ("", {}, "PUT", 200),
    "another permission": ("", {"x-amz-acl": "public-read"}, "PUT", 403),
    "metadata": ("", {"x-amz-meta-a": "b"}, "PUT", 403),
    "a copy of another object": ("", {"x-amz-copy-source": f"/{BUCKET}/other"}, "PUT", 403),
    "another type": ("", {"Content-Type": "text/html"}, "PUT", 403),
    "a permission in the query": ("&x-amz-acl=public-read", {}, "PUT", 403),
    "a part of another upload": ("&partNumber=1&uploadId=x", {}, "PUT", 403),
    "the object's tags": ("&tagging", {}, "PUT", 400),
    "the object's list of rights": ("&acl=", {}, "PUT", 403),
    "another lifetime": ("&X-Amz-Expires=604800", {}, "PUT", 403),
    "another method": ("", {}, "DELETE", 403),
}


@pytest.mark.parametrize("otherwise", OTHERWISE)
def test_a_presigned_upload_is_sent_as_it_was_signed_or_refused(s3: Any, otherwise: str) -> None:
    more, added, method, expected = OTHERWISE[otherwise]
    params = {"Bucket": BUCKET, "Key": "upload", "ContentType": "text/plain"}
    url = s3.generate_presigned_url("put_object", Params=params)
    named = {"Content-Type": "text/plain", **added}
    request = urllib.request.Request(url + more, data=b"of a job", method=method, headers=named)
    try:
        with urllib.request.urlopen(request) as answer:
            status = answer.status
    except urllib.error.HTTPError as refused:
        status = refused.code
    keys = [each["Key"] for each in s3.list_objects_v2(Bucket=BUCKET)["Contents"]]
    assert (status, "upload" in keys) == (expected, expected == 200)


def test_a_presigned_upload_of_one_object_is_of_no_other(s3: Any) -> None:
    url = s3.generate_presigned_url("put_object", Params={"Bucket": BUCKET, "Key": "upload"})
    for path in ("/upload/../other", "/upload%2f..%2fother", "/other"):
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(urllib.request.Request(url.replace("/upload", path), data=b"x", method="PUT"))
        assert refused.value.code == 403
    assert s3.get_object(Bucket=BUCKET, Key="other")["Body"].read() == b"secret"
