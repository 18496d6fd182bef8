"""A Hugging Face Hub on this machine: what `huggingface_hub` asks for, answered from memory.

Large files are uploaded and downloaded with Git LFS, whose objects are named by their SHA-256. They
can also be uploaded with Xet, which the Hub prefers; its storage is a folder here. `faults` makes
chosen calls fail.
"""

import base64
import hashlib
import json
import re
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path, PurePosixPath
from typing import Any, Literal
from urllib.parse import parse_qs, unquote, urlsplit

# As in the .gitattributes of a new repository on the Hub.
LARGE = (".onnx", ".safetensors", ".keras", ".png")

Fault = int | Literal["cut", "silent", "drip"]
Snapshot = dict[str, bytes]


@dataclass
class Repository:
    """Commits by their hash, each with all of its files; branches and tags point to them.

    Attributes
    ----------
    large
        SHA-256 of all large files ever committed, by path.
    """

    private: bool
    commits: dict[str, Snapshot] = field(default_factory=dict)
    messages: list[str] = field(default_factory=list)
    large: dict[str, str] = field(default_factory=dict)
    references: dict[str, str] = field(default_factory=dict)
    variables: dict[str, str] = field(default_factory=dict)
    hardware: str | None = None  # of a Space

    def __post_init__(self) -> None:
        self.commit("main", {".gitattributes": b""}, "initial commit")

    def commit(self, branch: str, files: Snapshot, message: str) -> str:
        """Let a branch point to a new commit; return its hash."""
        self.messages.append(message)
        content = [*self.messages, *sorted(files), *(str(hash(files[path])) for path in files)]
        name = hashlib.sha1("\n".join(content).encode()).hexdigest()  # noqa: S324
        self.commits[name] = files
        self.references[branch] = name
        return name

    def find(self, revision: str) -> str | None:
        """The hash of the commit named by a branch, a tag or a hash."""
        name = self.references.get(revision, revision)
        return name if name in self.commits else None

    @property
    def files(self) -> Snapshot:
        """The files of the main branch."""
        return self.commits[self.references["main"]]


class FakeHub:
    """The server; `repositories` by path, such as "owner/name" or "spaces/owner/name".

    Attributes
    ----------
    faults
        Faults for calls whose "METHOD /path" matches a pattern: an HTTP status, a cut connection,
        no answer, or a very slow one.
    requests
        "METHOD /path" of all calls.
    """

    def __init__(self, xet: Path) -> None:
        self.xet = xet
        self.repositories: dict[str, Repository] = {}
        self.objects: dict[str, bytes] = {}
        self.faults: dict[str, Fault] = {}
        self.requests: list[str] = []
        self.stopping = threading.Event()
        self._server = _Server(self)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()

    def add(self, repo: str, files: Snapshot) -> str:
        """Commit these files, and no others, to a repository's main branch; return the hash."""
        repository = self.repositories.setdefault(repo, Repository(private=False))
        for path, content in files.items():
            if path.endswith(LARGE):
                self.objects[_sha256(content)] = content
        return repository.commit("main", files, "added")

    def stop(self) -> None:
        """Close all connections."""
        self.stopping.set()
        self._server.shutdown()
        self._server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, hub: FakeHub) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.hub = hub


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        pass

    def handle_any(self) -> None:
        self.hub: FakeHub = self.server.hub
        self.content = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        path = unquote(urlsplit(self.path).path)
        call = f"{self.command} {path}"
        self.hub.requests.append(call)
        self.fault = next(
            (fault for pattern, fault in self.hub.faults.items() if re.search(pattern, call)), None
        )
        if self.fault == "silent":
            self.hub.stopping.wait()
            self.close_connection = True
        elif isinstance(self.fault, int):
            code = "RepoNotFound" if self.fault == 404 else ""
            self.refuse(self.fault, HTTPStatus(self.fault).phrase, code)
        else:
            self.route(path)

    do_GET = do_HEAD = do_POST = do_PUT = handle_any  # noqa: N815

    def route(self, path: str) -> None:
        routes: dict[str, Callable[..., None]] = {
            r"/api/repos/create": self.create,
            r"/api/validate-yaml": self.validate,
            r"/api/(?P<repo>.+?)/preupload/(?P<revision>.+)": self.preupload,
            r"/api/(?P<repo>.+?)/commit/(?P<revision>.+)": self.commit,
            r"/api/(?P<repo>.+?)/super-squash/(?P<branch>.+)": self.squash,
            r"/api/(?P<repo>.+?)/lfs-files": self.list_large,
            r"/api/(?P<repo>.+?)/lfs-files/batch": self.delete_large,
            r"/api/(?P<repo>.+?)/branch/(?P<name>.+)": self.branch,
            r"/api/(?P<repo>.+?)/tag/(?P<revision>.+)": self.tag,
            r"/api/(?P<repo>.+?)/variables": self.set_variable,
            r"/api/(?P<repo>.+?)/hardware": self.set_hardware,
            r"/api/(?P<repo>.+?)/tree/(?P<revision>[^/]+)(/(?P<folder>.+))?": self.tree,
            r"/api/(?P<repo>.+?)/paths-info/(?P<revision>[^/]+)": self.paths_info,
            r"/api/(?P<repo>[a-z]+s/[^/]+/[^/]+)(/revision/(?P<revision>.+))?": self.info,
            r"/(?P<repo>.+?)\.git/info/lfs/objects/batch": self.lfs_batch,
            r"/lfs/(?P<name>\w+)": self.lfs_put,
            r"/api/.+/xet-write-token/.+": self.xet_token,
            r"/(?P<repo>.+?)/resolve/(?P<revision>[^/]+)/(?P<path>.+)": self.resolve,
        }
        for pattern, answer in routes.items():
            if match := re.fullmatch(pattern, path):
                return answer(**match.groupdict())
        return self.refuse(404, f"no such call: {path}")

    def repository(self, repo: str) -> Repository | None:
        found = self.hub.repositories.get(repo.removeprefix("models/"))
        if found is None:
            self.refuse(404, "Repository not found", "RepoNotFound")
        return found

    def snapshot(self, repo: str, revision: str | None) -> tuple[str, Snapshot] | None:
        if (repository := self.repository(repo)) is None:
            return None
        if (name := repository.find(revision or "main")) is None:
            self.refuse(404, "Revision not found", "RevisionNotFound")
            return None
        return name, repository.commits[name]

    def create(self) -> None:
        wanted = json.loads(self.content)
        repo = f"{wanted['organization']}/{wanted['name']}"
        if wanted.get("type") == "space":
            assert wanted["sdk"] == "gradio"
            repo = f"spaces/{repo}"
        elif wanted.get("type") == "dataset":
            repo = f"datasets/{repo}"
        known = repo in self.hub.repositories
        if not known:
            self.hub.repositories[repo] = Repository(wanted.get("visibility") == "private")
            self.hub.repositories[repo].hardware = wanted.get("hardware")
        self.answer({"url": f"{self.hub.url}/{repo}"}, 409 if known else 200)

    def validate(self) -> None:
        self.answer({"errors": [], "warnings": []})

    def preupload(self, repo: str, revision: str) -> None:
        if (found := self.snapshot(repo, revision)) is None:
            return
        self.answer(
            {
                "files": [
                    {
                        "path": (path := file["path"]),
                        "uploadMode": "lfs" if path.endswith(LARGE) else "regular",
                        "shouldIgnore": False,
                        "oid": _identity(path, found[1][path]) if path in found[1] else None,
                    }
                    for file in json.loads(self.content)["files"]
                ]
            }
        )

    def lfs_batch(self, repo: str) -> None:
        if self.repository(repo) is None:
            return
        objects = json.loads(self.content)["objects"]
        for wanted in objects:
            if wanted["oid"] not in self.hub.objects:
                wanted["actions"] = {"upload": {"href": f"{self.hub.url}/lfs/{wanted['oid']}"}}
        self.answer({"transfer": "basic", "objects": objects})

    def lfs_put(self, name: str) -> None:
        if _sha256(self.content) == name:
            self.hub.objects[name] = self.content
            self.answer({})
        else:
            self.refuse(400, "The content is not that of the name")

    def xet_token(self) -> None:
        access = {
            "casUrl": f"local://{self.hub.xet}",
            "accessToken": "xet",
            "exp": int(time.time()) + 3600,
        }
        self.answer(access)

    def commit(self, repo: str, revision: str) -> None:
        if (found := self.snapshot(repo, revision)) is None:
            return
        repository, files, message = self.repository(repo), dict(found[1]), ""
        assert repository is not None
        for line in self.content.splitlines():
            operation = json.loads(line)
            value = operation["value"]
            match operation["key"]:
                case "header":
                    message = value["summary"]
                    if value.get("parentCommit", found[0]) != repository.find(revision):
                        self.refuse(412, "A commit has happened since")
                        return
                case "file":
                    files[value["path"]] = base64.b64decode(value["content"])
                case "lfsFile":
                    repository.large[value["path"]] = value["oid"]
                    # Xet stores uploads in its own form in the folder.
                    files[value["path"]] = self.hub.objects.get(value["oid"], b"")
                case "deletedFile":
                    del files[value["path"]]
        name = repository.commit(revision, files, message)
        self.answer({"commitUrl": f"{self.hub.url}/{repo}/commit/{name}", "commitOid": name})

    def squash(self, repo: str, branch: str) -> None:
        """Make one commit of all; the others can no longer be had."""
        if (repository := self.repository(repo)) is not None:
            files = repository.files
            repository.commits.clear()
            repository.commit(branch, files, json.loads(self.content)["message"])
            self.answer({})

    def list_large(self, repo: str) -> None:
        if (repository := self.repository(repo)) is not None:
            self.answer(
                [
                    {
                        "oid": name,
                        "fileOid": name,
                        "filename": path,
                        "size": len(self.hub.objects.get(name, b"")),
                        "pushedAt": "2026-11-30T00:00:00.000Z",
                        "ref": "main",
                    }
                    for path, name in repository.large.items()
                    if name in self.hub.objects
                ]
            )

    def delete_large(self, repo: str) -> None:
        if self.repository(repo) is not None:
            for name in json.loads(self.content)["deletions"]["sha"]:
                del self.hub.objects[name]
            self.answer({})

    def branch(self, repo: str, name: str) -> None:
        if (repository := self.repository(repo)) is None:
            return
        if name in repository.references:
            self.refuse(409, "Reference already exists")
        else:
            repository.references[name] = repository.references["main"]
            self.answer({})

    def tag(self, repo: str, revision: str) -> None:
        if (repository := self.repository(repo)) is not None:
            name = repository.find(revision)
            assert name is not None
            repository.references[json.loads(self.content)["tag"]] = name
            self.answer({})

    def set_variable(self, repo: str) -> None:
        if (repository := self.repository(repo)) is not None:
            variable = json.loads(self.content)
            repository.variables[variable["key"]] = variable["value"]
            self.answer({key: {"value": value} for key, value in repository.variables.items()})

    def set_hardware(self, repo: str) -> None:
        if (repository := self.repository(repo)) is not None:
            repository.hardware = json.loads(self.content)["flavor"]
            self.answer({"stage": "BUILDING", "hardware": {"requested": repository.hardware}})

    def info(self, repo: str, revision: str | None, **_: object) -> None:
        if (found := self.snapshot(repo, revision)) is not None:
            name, files = found
            siblings = [{"rfilename": path} for path in files]
            self.answer({"id": repo.partition("/")[2], "sha": name, "siblings": siblings})

    def tree(self, repo: str, revision: str, folder: str | None, **_: object) -> None:
        if (found := self.snapshot(repo, revision)) is not None:
            prefix = f"{folder}/" if folder else ""
            entries = [_entry(path, found[1][path]) for path in found[1]]
            entries += [
                {"type": "directory", "path": str(path), "size": 0, "oid": "0" * 40}
                for path in {parent for path in found[1] for parent in PurePosixPath(path).parents}
                if str(path) != "."
            ]
            deep = parse_qs(urlsplit(self.path).query).get("recursive") != ["false"]
            self.answer(
                [
                    entry
                    for entry in entries
                    if (rest := entry["path"].removeprefix(prefix)) != entry["path"] or not prefix
                    if deep or "/" not in rest
                ]
            )

    def paths_info(self, repo: str, revision: str) -> None:
        if (found := self.snapshot(repo, revision)) is not None:
            paths = parse_qs(self.content.decode())["paths"]
            files = found[1]
            self.answer([_entry(path, files[path]) for path in paths if path in files])

    def resolve(self, repo: str, revision: str, path: str) -> None:
        if (found := self.snapshot(repo, revision)) is None:
            return
        name, files = found
        if path not in files:
            self.refuse(404, "Entry not found", "EntryNotFound", {"X-Repo-Commit": name})
            return
        # The served content can differ from the object's name, as with damaged storage.
        content = files[path]
        if path.endswith(LARGE):
            content = self.hub.objects[_sha256(content)]
        headers = {
            "X-Repo-Commit": name,
            "ETag": f'"{_identity(path, files[path])}"',
            "Content-Type": "application/octet-stream",
        }
        if wanted := re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", "")):
            first, last = map(int, wanted.groups())
            headers["Content-Range"] = f"bytes {first}-{last}/{len(content)}"
            self.send(206, content[first : last + 1], headers)
            return
        self.send(200, content, headers)

    def answer(self, value: object, status: int = 200) -> None:
        self.send(status, json.dumps(value).encode(), {"Content-Type": "application/json"})

    def refuse(
        self, status: int, sentence: str, code: str = "", headers: dict[str, str] | None = None
    ) -> None:
        headers = {"X-Error-Message": sentence, **(headers or {})}
        if code:
            headers["X-Error-Code"] = code
        self.send(status, json.dumps({"error": sentence}).encode(), headers)

    def send(self, status: int, content: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(content))}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "HEAD":
            return
        if self.fault == "cut":
            self.wfile.write(content[: len(content) // 2])
            self.wfile.flush()
            self.connection.shutdown(socket.SHUT_RDWR)
            self.close_connection = True
        elif self.fault == "drip":
            for byte in content:
                if self.hub.stopping.wait(0.2):
                    break
                self.wfile.write(bytes([byte]))
        else:
            self.wfile.write(content)


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _identity(path: str, content: bytes) -> str:
    """The Hub's identifier of a file: SHA-256 if it is large, otherwise Git's SHA-1."""
    if path.endswith(LARGE):
        return _sha256(content)
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()  # noqa: S324


def _entry(path: str, content: bytes) -> dict[str, Any]:
    entry = {
        "type": "file",
        "path": path,
        "size": len(content),
        "oid": hashlib.sha1(content).hexdigest(),  # noqa: S324
    }
    if path.endswith(LARGE):
        entry["lfs"] = {"oid": _sha256(content), "size": len(content), "pointerSize": 100}
    return entry
