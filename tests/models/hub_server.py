"""A hub on 127.0.0.1: the four addresses of the real one that a download asks, with its headers and refusals.

Files in LFS (safetensors) are answered as on the real hub: the hub itself gives their size and SHA-256, and
sends on to another origin for the bytes (here the same server by its other name, localhost).
"""

from __future__ import annotations

import hashlib
import json
import re
import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit

import huggingface_hub
import numpy as np
from huggingface_hub import constants
from safetensors.numpy import save

SECONDS = 5
"""After this long, neither a connection nor a withheld answer is waited for."""

SILENT, HALF = 0, 1
"""Failures beside a status: no answer at all, and a body that breaks off."""

WEIGHTS = save({"a": np.arange(6, dtype=np.float32), "b": np.ones((2, 3), np.float16)})
MODEL = {
    "config.json": json.dumps({"model_type": "bert"}).encode(),
    "tokenizer.json": b"{}",
    "vocab.txt": b"a\nb\n",
    "model.safetensors": WEIGHTS,
}
"""All files of a model that are fetched."""


@dataclass
class Repository:
    """Commits and what leads to them; `gate` and `private` name the tokens that may read."""

    commits: dict[str, dict[str, bytes]]
    refs: dict[str, str]
    gate: tuple[str, ...] | None = None
    private: tuple[str, ...] | None = None

    def commit_of(self, revision: str) -> str | None:
        commit = self.refs.get(revision, revision)
        return commit if commit in self.commits else None


@dataclass
class Hub:
    """What the server serves, how it fails, and what it has been asked."""

    repositories: dict[str, Repository] = field(default_factory=dict)
    tokens: tuple[str, ...] = ("good",)
    failures: list[tuple[str, int, dict[str, str]]] = field(default_factory=list)
    """Pattern of an address, status and headers; each is answered once, the first that matches."""
    pages: list[tuple[str, bytes]] = field(default_factory=list)
    """Pattern of an address, and a body that is answered instead, always."""
    without_sizes: bool = False
    asked: list[tuple[str, str]] = field(default_factory=list)
    stop: threading.Event = field(default_factory=threading.Event)
    lock: threading.Lock = field(default_factory=threading.Lock)
    port: int = 0

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def add(self, name: str, files: dict[str, bytes], revision: str = "main") -> str:
        """Put a commit on a branch."""
        content = json.dumps({key: git_digest(value) for key, value in sorted(files.items())})
        commit = hashlib.sha1(content.encode()).hexdigest()
        repository = self.repositories.setdefault(name, Repository({}, {}))
        repository.commits[commit] = files
        repository.refs[revision] = commit
        return commit

    def next_failure(self, path: str) -> tuple[int, dict[str, str]] | None:
        with self.lock:
            for failure in self.failures:
                if re.search(failure[0], path):
                    self.failures.remove(failure)
                    return failure[1:]
        return None

    def downloads(self) -> list[str]:
        """Names of the files whose bytes were given, in order of name."""
        return sorted(path.rpartition("/")[2] for method, path in self.asked if method == "FILE")

    def n_asked(self, pattern: str) -> int:
        return sum(bool(re.search(pattern, f"{method} {path}")) for method, path in self.asked)


def git_digest(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


def is_large(name: str) -> bool:
    return name.endswith((".safetensors", ".bin", ".model"))


def lfs_entry(content: bytes, digest: str) -> dict[str, object]:
    return {digest: hashlib.sha256(content).hexdigest(), "size": len(content), "pointerSize": 134}


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = SECONDS

    @property
    def hub(self) -> Hub:
        return self.server.hub  # type: ignore[attr-defined]

    def log_message(self, *_):
        pass

    def do_HEAD(self):
        self.do_GET()

    def do_GET(self):
        path = unquote(urlsplit(self.path).path)
        if not re.match("/api/models/|/cdn/|/.+/resolve/", path):  # what the client asks for its own purposes
            self.refuse(404, "", path)
            return
        self.hub.asked.append((self.command, path))
        if failure := self.hub.next_failure(path):
            self.fail(*failure)
            return
        for pattern, body in self.hub.pages:
            if re.search(pattern, path):
                self.answer(200, body, {"Content-Type": "text/html"})
                return
        if found := re.fullmatch(r"/cdn/(\w+)/(.+)", path):
            self.give(*found.groups())
        elif found := re.fullmatch(r"/api/models/([^/]+/[^/]+)(?:/revision/(.+))?", path):
            self.describe(found[1], found[2] or "main")
        elif found := re.fullmatch(r"/api/models/([^/]+/[^/]+)/tree/(.+)", path):
            self.list_files(found[1], found[2])
        elif found := re.fullmatch(r"/([^/]+/[^/]+)/resolve/([^/]+|refs/pr/\d+)/(.+)", path):
            self.resolve(*found.groups())
        else:
            self.refuse(404, "", path)

    def fail(self, status: int, headers: dict[str, str]):
        self.close_connection = status in (SILENT, HALF)
        if status == SILENT:
            self.hub.stop.wait(SECONDS)
        elif status == HALF:
            self.answer(200, b"half", {"Content-Length": str(len(WEIGHTS))})
        else:
            self.answer(status, b'{"error": "made to fail"}', headers)

    def answer(self, status: int, body: bytes, headers: dict[str, str] | None = None):
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def refuse(self, status: int, code: str, message: str):
        headers = {"X-Error-Code": code, "X-Error-Message": message} if code else {"X-Error-Message": message}
        self.answer(status, json.dumps({"error": message}).encode(), headers)

    def permitted(self, name: str, *, to_read: bool) -> Repository | None:
        """As the real hub: what is private looks absent, and a gate stands before the files only."""
        token = (self.headers.get("Authorization") or "").removeprefix("Bearer ")
        repository = self.hub.repositories.get(name)
        if token and token not in self.hub.tokens:
            self.refuse(401, "", "Invalid credentials in Authorization header")
        elif repository is None or (repository.private is not None and token not in repository.private):
            if token:
                self.refuse(404, "RepoNotFound", "Repository not found")
            else:
                self.refuse(401, "", "Invalid username or password.")
        elif to_read and repository.gate is not None and token not in repository.gate:
            self.refuse(403 if token else 401, "GatedRepo", f"Access to model {name} is restricted.")
        else:
            return repository
        return None

    def files_of(self, name: str, revision: str, *, to_read: bool) -> tuple[str, dict[str, bytes]] | None:
        repository = self.permitted(name, to_read=to_read)
        if repository is None:
            return None
        commit = repository.commit_of(revision)
        if commit is None:
            self.refuse(404, "RevisionNotFound", f"Invalid rev id: {revision}")
            return None
        return commit, repository.commits[commit]

    def describe(self, name: str, revision: str):
        if (found := self.files_of(name, revision, to_read=False)) is None:
            return
        siblings: list[dict[str, object]] = []
        for file, content in found[1].items():
            sibling: dict[str, object] = {"rfilename": file}
            if "blobs=" in self.path and not self.hub.without_sizes:
                sibling |= {"size": len(content), "blobId": git_digest(content)}
                if is_large(file):
                    sibling["lfs"] = lfs_entry(content, "sha256")
            siblings.append(sibling)
        self.answer(200, json.dumps({"id": name, "sha": found[0], "siblings": siblings}).encode())

    def list_files(self, name: str, revision: str):
        if (found := self.files_of(name, revision, to_read=False)) is None:
            return
        entries: list[dict[str, object]] = []
        for file, content in found[1].items():
            entry: dict[str, object] = {"type": "file", "path": file, "size": len(content)}
            entry["oid"] = git_digest(content)
            if is_large(file):
                entry["lfs"] = lfs_entry(content, "oid")
            entries.append(entry)
        self.answer(200, json.dumps(entries).encode())

    def resolve(self, name: str, revision: str, file: str):
        if (found := self.files_of(name, revision, to_read=True)) is None:
            return
        commit, files = found
        headers = {"X-Repo-Commit": commit}
        if file not in files:
            message = "Entry not found"
            self.answer(404, b"", {**headers, "X-Error-Code": "EntryNotFound", "X-Error-Message": message})
        elif is_large(file):
            digest = hashlib.sha256(files[file]).hexdigest()
            headers |= {"X-Linked-Etag": f'"{digest}"', "X-Linked-Size": str(len(files[file]))}
            headers["Location"] = f"http://localhost:{self.hub.port}/cdn/{digest}/{file}"
            self.answer(302, b"", headers)
        else:
            if self.command == "GET":
                self.hub.asked.append(("FILE", file))
            self.answer(200, files[file], {**headers, "ETag": f'"{git_digest(files[file])}"'})

    def give(self, digest: str, file: str):
        commits = [files for each in self.hub.repositories.values() for files in each.commits.values()]
        content = next(
            files[file]
            for files in commits
            if file in files and hashlib.sha256(files[file]).hexdigest() == digest
        )
        if self.command == "GET":
            self.hub.asked.append(("FILE", file))
        self.answer(200, content)


class Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def handle_error(self, *_):
        """A client that hangs up is no news."""


@contextmanager
def serving():
    """A hub without repositories, gone when the block ends."""
    hub = Hub()
    server = Server(("127.0.0.1", 0), Handler)
    server.hub = hub  # type: ignore[attr-defined]
    hub.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        hub.stop.set()
        server.shutdown()
        server.server_close()
        thread.join(SECONDS)


@contextmanager
def hub_of_the_client(folder, monkeypatch):
    """A hub that huggingface_hub takes for the real one, with an empty cache in `folder` and no token."""
    for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1,localhost")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(folder / "cache"))
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(folder / "token"))
    monkeypatch.setattr(constants, "HF_STORED_TOKENS_PATH", str(folder / "stored_tokens"))
    monkeypatch.setattr(constants, "AGENT_HARNESSES_PATH", str(folder / "harnesses"), raising=False)
    with serving() as hub:
        monkeypatch.setattr(constants, "ENDPOINT", hub.address)
        template = hub.address + "/{repo_id}/resolve/{revision}/{filename}"
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        huggingface_hub.close_session()
        yield hub
        huggingface_hub.close_session()
