"""A visitor of the page: sends what a browser does when a photo is dropped on it."""

import http.client
import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from bench import visitors

# `elem_id` of the photo input, and of the first output of its event.
PHOTO, PICTURE = "photo", "pets-picture"
JSON = {"Content-Type": "application/json"}


class RefusedError(Exception):
    """The server refused a request, or an event ended in an error; the text says which."""


@dataclass(frozen=True)
class PhotoEvent:
    """The page's event for a new photo, according to the page's own description.

    Attributes
    ----------
    function, trigger
        Ids that the browser sends for it.
    picture
        Index of the picture with the pets among its outputs.
    """

    function: int
    trigger: int
    picture: int

    @classmethod
    def of(cls, port: int) -> "PhotoEvent":
        """Find it on a served page."""
        status, config = visitors.get(port, "/config")
        if status != 200:
            raise RefusedError(f"refused {status}")
        return cls.find(json.loads(config))

    @classmethod
    def find(cls, config: Mapping[str, Any]) -> "PhotoEvent":
        """Find it in the description from `/config`."""
        (photo,), (picture,) = (
            [each["id"] for each in config["components"] if each["props"].get("elem_id") == name]
            for name in (PHOTO, PICTURE)
        )
        (event,) = (
            each
            for each in config["dependencies"]
            if photo in each["inputs"] and picture in each["outputs"]
        )
        return cls(event["id"], event["targets"][0][0], event["outputs"].index(picture))


class PageVisitor:
    """An open page with its own session, and the two connections that a browser would use."""

    def __init__(self, port: int, address: str, event: PhotoEvent) -> None:
        """Open the page that has this event, as the client with this address."""
        self._headers = {"X-Forwarded-For": address}
        self._requests = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
        self._stream = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
        self._session = secrets.token_hex(5)
        self._event = event

    def show(self, photo: bytes) -> bytes:
        """Drop a photo on the page; return the picture with its pets, empty if there are none.

        Raises
        ------
        RefusedError
            If the photo gets no answer.
        """
        path = self._upload(photo)
        file = {"path": path, "meta": {"_type": "gradio.FileData"}}
        body = {
            "data": [file, None],  # the browser does not know the previously accepted photo
            "fn_index": self._event.function,
            "trigger_id": self._event.trigger,
            "session_hash": self._session,
            "event_data": None,
        }
        joined = self._ask("POST", "/gradio_api/queue/join", json.dumps(body).encode(), JSON)
        output = self._wait(json.loads(joined)["event_id"])
        picture = output["data"][self._event.picture]
        if picture is None:
            return b""
        return self._ask("GET", f"/gradio_api/file={picture['path']}")

    def close(self) -> None:
        """Close the page."""
        self._requests.close()
        self._stream.close()

    def _upload(self, photo: bytes) -> str:
        form = (
            b'--x\r\nContent-Disposition: form-data; name="files"; filename="photo.jpg"\r\n'
            b"Content-Type: image/jpeg\r\n\r\n" + photo + b"\r\n--x--\r\n"
        )
        kind = {"Content-Type": "multipart/form-data; boundary=x"}
        return json.loads(self._ask("POST", "/gradio_api/upload", form, kind))[0]

    def _wait(self, event: str) -> dict[str, Any]:
        """Read the session's stream to its end, which comes after the answer."""
        output = None
        address = f"/gradio_api/queue/data?session_hash={self._session}"
        with self._request(self._stream, "GET", address) as stream:
            for line in stream:
                if not line.startswith(b'data: {"msg":"process_completed"'):
                    continue
                message = json.loads(line.removeprefix(b"data: "))
                if message["event_id"] != event:
                    continue
                output = message["output"]
        if output is None:
            raise RefusedError("no answer")
        if "data" not in output:
            raise RefusedError(output.get("error") or "an error without a sentence")
        return output

    def _ask(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> bytes:
        with self._request(self._requests, method, path, body, headers) as answer:
            return answer.read()

    def _request(
        self,
        connection: http.client.HTTPConnection,
        method: str,
        path: str,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> http.client.HTTPResponse:
        every = {**self._headers, **(headers or {})}
        try:
            connection.request(method, path, body, every)
            answer = connection.getresponse()
        except ConnectionError:  # the server closed it because it was idle
            connection.close()
            connection.request(method, path, body, every)
            answer = connection.getresponse()
        if answer.status != 200:
            answer.read()
            raise RefusedError(f"refused {answer.status}")
        return answer
