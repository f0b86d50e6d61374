"""Objects of S3 on their way to and from the browser, as bytes. The gate has looked at each request before."""

from __future__ import annotations

import asyncio
import tempfile
from urllib.parse import quote

from fastapi import FastAPI, Request
from fastapi.responses import PlainTextResponse, Response, StreamingResponse

from skylift.client.errors import SkyliftError
from skylift.console.port import Port

_PICTURES = {"png": "image/png", "jpg": "image/jpeg", "jpeg": "image/jpeg", "gif": "image/gif", "webp": "image/webp"}
"""What a page may show. All else, SVG and HTML too, is only ever saved."""


def add_transfers(site: FastAPI, port: Port) -> None:
    @site.get("/object")
    async def download(bucket: str, key: str) -> Response:
        try:
            size, pieces = await asyncio.to_thread(port.content, bucket, key)
        except SkyliftError as error:
            return PlainTextResponse(error.message, 404)
        name = quote(key.rpartition("/")[2] or "object", safe="")
        kind = _PICTURES.get(key.rpartition(".")[2].lower())
        headers = {
            "content-length": str(size),
            "content-disposition": f"{'inline' if kind else 'attachment'}; filename*=UTF-8''{name}",
            "cache-control": "no-store",
        }
        return StreamingResponse(pieces, media_type=kind or "application/octet-stream", headers=headers)

    @site.post("/object")
    async def upload(request: Request, bucket: str, key: str) -> Response:
        with tempfile.TemporaryFile() as file:
            size = 0
            async for piece in request.stream():
                size += len(piece)
                await asyncio.to_thread(file.write, piece)
            file.seek(0)
            try:
                await asyncio.to_thread(port.upload, file, size, bucket, key)
            except SkyliftError as error:
                return PlainTextResponse(error.message, 409)
        return PlainTextResponse("stored")
