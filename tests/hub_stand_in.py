"""A stand-in of the Hugging Face hub's HTTP interface on the loopback: what its client needs to publish files."""

from __future__ import annotations

import base64
import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit

TOKEN = "hf_rightful"
LARGE = (".onnx", ".safetensors", ".pt2")


class Hub(ThreadingHTTPServer):
    """Repositories in memory: name to branch to path to content."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.repositories: dict[str, dict[str, dict[str, bytes]]] = {}
        self.private: dict[str, bool] = {}
        self.objects: dict[str, bytes] = {}
        self.messages: list[str] = []
        self.paths: list[str] = []

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class _Handler(BaseHTTPRequestHandler):
    server: Hub
    protocol_version = "HTTP/1.1"

    def log_message(self, *arguments: Any) -> None:
        pass

    def do_GET(self) -> None:
        parts = self._begin()
        if parts is None:
            return
        if parts[:2] == ["api", "models"] and "tree" in parts:
            branch = self.server.repositories["/".join(parts[2:4])].get(parts[5], {})
            self._answer([{"type": "file", "path": p, "size": len(c), "oid": "0" * 40} for p, c in branch.items()])
        elif parts[:2] == ["api", "models"]:
            self._answer_info("/".join(parts[2:4]))
        elif parts[:2] == ["api", "whoami-v2"]:
            self._answer({"name": "me", "type": "user"})
        else:
            self._answer({"error": "no such thing"}, 404)

    def do_POST(self) -> None:
        parts = self._begin()
        if parts is None:
            return
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if parts == ["api", "repos", "create"]:
            self._create(json.loads(body))
        elif parts[-1] == "batch":
            self._answer_batch(json.loads(body))
        elif "preupload" in parts:
            files = json.loads(body)["files"]
            modes = {file["path"]: "lfs" if file["path"].endswith(LARGE) else "regular" for file in files}
            self._answer(
                {"files": [{"path": p, "uploadMode": mode, "shouldIgnore": False} for p, mode in modes.items()]}
            )
        elif "branch" in parts:
            branches = self.server.repositories["/".join(parts[2:4])]
            branches.setdefault(parts[5], dict(branches["main"]))
            self._answer({})
        elif "commit" in parts:
            self._commit("/".join(parts[2:4]), parts[5], body)
        else:
            self._answer({}, 200)

    def do_PUT(self) -> None:
        content = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        oid = self.path.rpartition("/")[2]
        assert hashlib.sha256(content).hexdigest() == oid
        self.server.objects[oid] = content
        self._answer({})

    def _begin(self) -> list[str] | None:
        self.server.paths.append(self.path)
        parts = [unquote(part) for part in urlsplit(self.path).path.strip("/").split("/")]
        if self.headers.get("Authorization") != f"Bearer {TOKEN}":
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            self._answer({"error": "Invalid username or password."}, 401)
            return None
        return parts

    def _create(self, asked: dict[str, Any]) -> None:
        name = f"{asked.get('organization') or 'me'}/{asked['name']}"
        status = 409 if name in self.server.repositories else 200
        self.server.repositories.setdefault(name, {"main": {}})
        self.server.private.setdefault(name, asked.get("private", asked.get("visibility") == "private"))
        self._answer({"url": f"{self.server.address}/{name}", "name": name, "id": name}, status)

    def _answer_info(self, name: str) -> None:
        if name not in self.server.repositories:
            self._answer({"error": "Repository not found"}, 404)
            return
        files = self.server.repositories[name]["main"]
        siblings = [{"rfilename": path} for path in files]
        self._answer({"id": name, "modelId": name, "private": False, "tags": [], "siblings": siblings, "sha": "0" * 40})

    def _answer_batch(self, asked: dict[str, Any]) -> None:
        objects = [
            {**each, "actions": {"upload": {"href": f"{self.server.address}/objects/{each['oid']}"}}}
            for each in asked["objects"]
        ]
        self._answer({"transfer": "basic", "objects": objects})

    def _commit(self, name: str, branch: str, body: bytes) -> None:
        files = self.server.repositories[name][branch]
        for line in body.splitlines():
            entry = json.loads(line)
            value = entry["value"]
            if entry["key"] == "header":
                self.server.messages.append(value["summary"])
            elif entry["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif entry["key"] == "lfsFile":
                files[value["path"]] = self.server.objects[value["oid"]]
            elif entry["key"] == "deletedFile":
                files.pop(value["path"])
        oid = hashlib.sha1(body).hexdigest()
        self._answer({"commitUrl": f"{self.server.address}/{name}/commit/{oid}", "commitOid": oid, "success": True})

    def _answer(self, value: Any, status: int = 200) -> None:
        content = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)


@contextmanager
def running_hub() -> Iterator[Hub]:
    """Run the stand-in in a thread."""
    hub = Hub()
    thread = threading.Thread(target=hub.serve_forever, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        hub.shutdown()
        hub.server_close()
        thread.join(10)
