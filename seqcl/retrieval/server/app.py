"""The server: one page and a small API, over an index that is open.

Only recordings of the index can be read, by the number of an entry, never by a path. Uploads go
to a temporary file of a fixed name, are bounded, and are gone after the answer.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from importlib import resources
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from starlette.concurrency import run_in_threadpool
from starlette.middleware.trustedhost import TrustedHostMiddleware

from seqcl.errors import DataError, MissingInputError, SeqclError, UsageError
from seqcl.retrieval.searcher import Searcher
from seqcl.retrieval.server.guard import Limits, TooLarge, is_allowed, receive
from seqcl.retrieval.server.service import Service

__all__ = ["build_app"]

_FILES = {"": ("page.html", "text/html"), "page.js": ("page.js", "text/javascript"),
          "page.css": ("page.css", "text/css")}  # fmt: skip
_HEADERS = {
    "Content-Security-Policy": "default-src 'self'; img-src 'self' data:; media-src 'self' blob:",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}


def build_app(
    searcher: Searcher, token: str | None, limits: Limits, hosts: Sequence[str]
) -> FastAPI:
    """Return the application, see `seqcl.retrieval.server.make_app`."""
    app = FastAPI(title="seqcl", docs_url=None, redoc_url=None, openapi_url=None)
    service = Service(searcher, limits)
    _add_guard(app, token)
    app.add_middleware(TrustedHostMiddleware, allowed_hosts=list(hosts))
    app.post("/api/search")(_search(service, limits))
    app.get("/api/info")(service.info)
    app.get("/api/map")(service.map)
    app.get("/api/picture/{entry}")(service.picture)

    @app.get("/api/sound/{entry}")
    def sound(entry: int) -> Response:
        return Response(service.sound(entry), media_type="audio/wav")

    @app.get("/{name:path}")
    def file(name: str) -> Response:
        if name not in _FILES:
            return JSONResponse({"error": "there is nothing here"}, 404)
        found, kind = _FILES[name]
        raw = resources.files(__package__).joinpath(found).read_bytes()
        return Response(raw, media_type=kind)

    return app


def _search(service: Service, limits: Limits) -> Any:
    """Return what takes an upload, the raw bytes of one file, and answers it."""

    async def search(
        request: Request,
        name: str,
        k: int = 10,
        label: str = "",
        at: float | None = None,
        length: float | None = None,
    ) -> Any:
        if not 1 <= k <= limits.matches:
            return JSONResponse({"error": f"k: is {k}; give 1 to {limits.matches}"}, 422)
        suffix = _suffix(name, service.suffixes)
        with TemporaryDirectory(prefix="seqcl-") as folder:
            path = Path(folder) / f"query{suffix}"
            try:
                await receive(request.stream(), path, limits.upload_bytes)
            except TooLarge:
                most = f"{limits.upload_bytes / (1 << 20):g} MB"
                return JSONResponse({"error": f"the file is larger than {most}"}, 413)
            call = partial(service.answer, path, k, label, at, length)
            return await run_in_threadpool(call)

    return search


def _add_guard(app: FastAPI, token: str | None) -> None:
    """Ask for the token, add headers that keep the page to itself, tell errors as JSON."""

    @app.middleware("http")
    async def guard(request: Request, call_next: Any) -> Any:
        asked, header = request.query_params.get("token"), request.headers.get("authorization")
        page = request.url.path.lstrip("/") in _FILES  # holds nothing of the index
        if not page and not is_allowed(token, header, asked):
            return JSONResponse({"error": "a token is needed"}, 401)
        response = await call_next(request)
        response.headers.update(_HEADERS)
        return response

    @app.exception_handler(RequestValidationError)
    async def refused(_: Request, error: RequestValidationError) -> Any:
        told = (f"{'.'.join(map(str, one['loc'][1:]))}: {one['msg']}" for one in error.errors())
        return JSONResponse({"error": "; ".join(told)}, 422)

    @app.exception_handler(SeqclError)
    async def told(_: Request, error: SeqclError) -> Any:
        status = {DataError: 422, MissingInputError: 410, UsageError: 400}.get(type(error), 500)
        return JSONResponse({"error": str(error)}, status)


def _suffix(name: str, known: Sequence[str]) -> str:
    """Return the known suffix of an uploaded file's name; raises UsageError for another."""
    found = next((suffix for suffix in known if name.lower().endswith(suffix)), None)
    if found is None:
        raise UsageError(f"{Path(name).name}: no reader for this suffix; known: {' '.join(known)}")
    return found
