"""The sandbox's files."""

from __future__ import annotations

import base64
from pathlib import Path

from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import Route

from pools.localcloud.agent.bodies import Body
from pools.localcloud.agent.refusals import Refusal, Unforeseen
from pools.localcloud.agent.sandbox import Sandbox


class Files:
    def __init__(self, sandbox: Sandbox) -> None:
        self.sandbox = sandbox

    async def index(self, request: Request) -> Response:
        folder = self.existing(request.query_params.get("path", "/workspace"))
        if not folder.is_dir():
            raise Refusal(400, f"Not a directory: {self.sandbox.inside(folder)}")
        try:
            return JSONResponse({"files": [self.entry(path) for path in sorted(folder.iterdir())]})
        except OSError:  # a link that leads nowhere
            raise Unforeseen from None

    def entry(self, path: Path) -> dict[str, object]:
        info = path.stat()
        return {
            "name": path.name,
            "path": f"{self.sandbox.inside(path.parent)}/{path.name}",
            "is_dir": path.is_dir(),
            "size": None if path.is_dir() else info.st_size,
            "permissions": f"{info.st_mode & 0o777:03o}",
        }

    async def read(self, request: Request) -> Response:
        file = self.existing_file(request)
        path = self.sandbox.inside(file)
        data = file.read_bytes()
        try:
            content = data.decode().replace("\r\n", "\n").replace("\r", "\n")  # read as text
        except UnicodeDecodeError:
            return JSONResponse({"content": base64.b64encode(data).decode(), "path": path, "encoding": "base64"})
        return JSONResponse({"content": content, "path": path})

    async def write(self, request: Request) -> Response:
        body = await Body.of(request)
        path, content, encoding = body.text("path"), body.text("content"), body.text_or_null("encoding")
        body.check()
        file = self.sandbox.real(path)
        try:
            data = base64.b64decode(content) if encoding == "base64" else content.encode()
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(data)
        except (OSError, ValueError):
            raise Unforeseen from None
        return JSONResponse({"success": True, "path": path})

    async def download(self, request: Request) -> Response:
        file = self.existing_file(request)
        return FileResponse(file, media_type="application/octet-stream", filename=file.name)

    def existing(self, path: str) -> Path:
        real = self.sandbox.real(path)
        if not real.exists():
            raise Refusal(404, f"Not found: {self.sandbox.inside(real)}")
        return real

    def existing_file(self, request: Request) -> Path:
        if "path" not in request.query_params:
            raise Refusal.of_field("path", "is missing", where="query")
        file = self.existing(request.query_params["path"])
        if file.is_dir():
            raise Refusal(400, f"Path is a directory: {self.sandbox.inside(file)}")
        return file

    def routes(self) -> list[Route]:
        return [
            Route("/api/files", self.index),
            Route("/api/files/content", self.read, methods=["GET"]),
            Route("/api/files/content", self.write, methods=["POST"]),
            Route("/api/files/download", self.download),
        ]
