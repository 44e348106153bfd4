"""The sandbox's files."""

from __future__ import annotations

import base64
import stat
from pathlib import Path

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import BaseRoute, Route

from pools.localcloud.agent.commands import read_json
from pools.localcloud.agent.sandbox import Sandbox


class Files:
    def __init__(self, sandbox: Sandbox) -> None:
        self.sandbox = sandbox

    async def index(self, request: Request) -> Response:
        folder = self.sandbox.real(request.query_params.get("path") or "/workspace")
        if not folder.is_dir():
            raise HTTPException(404, "Directory not found")
        return JSONResponse({"files": [self.entry(path) for path in sorted(folder.iterdir())]})

    def entry(self, path: Path) -> dict[str, object]:
        info = path.lstat()
        return {
            "name": path.name,
            "path": f"{self.sandbox.inside(path.parent)}/{path.name}",
            "is_dir": path.is_dir(),
            "size": info.st_size,
            "permissions": stat.filemode(info.st_mode),
        }

    async def read(self, request: Request) -> Response:
        path = request.query_params.get("path", "")
        data = self.existing(path).read_bytes()
        try:
            return JSONResponse({"content": data.decode(), "path": path})
        except UnicodeDecodeError:
            return JSONResponse({"content": base64.b64encode(data).decode(), "path": path, "encoding": "base64"})

    async def write(self, request: Request) -> Response:
        body = await read_json(request)
        path, content = body.get("path"), body.get("content")
        if not isinstance(path, str) or not isinstance(content, str):
            raise HTTPException(422, "path and content are required")
        real = self.sandbox.real(path)
        try:
            data = base64.b64decode(content, validate=True) if body.get("encoding") == "base64" else content.encode()
        except ValueError:
            raise HTTPException(400, "content can't be decoded") from None
        try:
            real.parent.mkdir(parents=True, exist_ok=True)
            real.write_bytes(data)
        except OSError as error:
            raise HTTPException(400, f"The file can't be written: {error.strerror}") from None
        return JSONResponse({"success": True, "path": path})

    async def download(self, request: Request) -> Response:
        return FileResponse(self.existing(request.query_params.get("path", "")))

    def existing(self, path: str) -> Path:
        real = self.sandbox.real(path)
        if not real.is_file():
            raise HTTPException(404, "File not found")
        return real

    def routes(self) -> list[BaseRoute]:
        return [
            Route("/api/files", self.index),
            Route("/api/files/content", self.read, methods=["GET"]),
            Route("/api/files/content", self.write, methods=["POST"]),
            Route("/api/files/download", self.download),
        ]
