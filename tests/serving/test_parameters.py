"""Every parameter of every endpoint: its schema's values are accepted, others get a sentence."""

import asyncio
import base64
import json
import math
import re
from collections.abc import Iterator
from typing import Any

import pytest
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError
from mcp import ClientSession
from mcp.client.streamable_http import streamablehttp_client

from tests.raw_http import CAT, Served
from ui import texts

Schema = dict[str, Any]

DATA = f"data:image/png;base64,{base64.b64encode(CAT.read_bytes()).decode()}"
FILE = {"meta": {"_type": "gradio.FileData"}}
NO_PHOTOS: list[Any] = [
    *(None, "", 5, True, [], {}, math.nan, "cat.jpg", "http://127.0.0.1:9/cat.jpg", [DATA]),
    *("data:image/png;base64,A", "data:", {"path": None, **FILE}, {"path": 5, **FILE}),
    *({"path": "/etc/passwd", **FILE}, {"path": "", **FILE}, {"url": "cat.jpg", **FILE}),
    *(
        {"path": "/etc/passwd"},
        {"path": str(CAT), "size": "large", **FILE},
        {"meta": 5, "path": ""},
    ),
]
NO_WORDS: list[Any] = [None, "", 5, 2.5, True, [], {}, "smell", math.nan]


def edges(name: str, schema: Schema, uploaded: str) -> tuple[list[Any], list[Any]]:
    """Values that a parameter accepts, and those that it refuses with a sentence."""
    if "enum" in schema:
        words = schema["enum"]
        return words, [*NO_WORDS, [words[0]], {"value": words[0]}, words[0] + " "]
    if schema["type"] == "integer":
        least, most = schema["minimum"], schema["maximum"]
        wrong = [least - 1, most + 1, least + 0.5, 1e9, -1e9, 1e400, math.nan, None, True, "", "x"]
        return [least, most, float(least), str(least)], [*wrong, "2.5", [least], {"value": least}]
    assert name == "photo"
    taken = [DATA, {"url": DATA, **FILE}, {"path": DATA, **FILE}, {"path": uploaded, **FILE}]
    return taken, NO_PHOTOS


def ask(served: Served, endpoint: str, values: list[Any]) -> str:
    """The answer over HTTP, as its event."""
    started = served.post(f"/gradio_api/call{endpoint}", {"data": values})
    assert started.status == 200, started.body
    event = json.loads(started.body)["event_id"]
    answer = served.ask("GET", f"/gradio_api/call{endpoint}/{event}").body.decode()
    return answer.rpartition("event: ")[2]


@pytest.fixture(autouse=True)
def _no_faults(served: Served) -> Iterator[None]:
    before = len(served.lines)
    yield
    lines = served.lines[before:]
    assert not [line for line in lines if line["event"] == "fault"]
    assert not [line for line in lines if line.get("outcome") == "failed"]


@pytest.fixture(scope="module")
def client(served: Served, tmp_path_factory: pytest.TempPathFactory) -> Client:
    return Client(served.url, verbose=False, download_files=tmp_path_factory.mktemp("answers"))


@pytest.fixture(scope="module")
def endpoints(client: Client) -> dict[str, list[Schema]]:
    """The parameters of all endpoints."""
    described = client.view_api(return_format="dict", print_info=False)
    return {name: each["parameters"] for name, each in described["named_endpoints"].items()}


def usual(parameters: list[Schema], uploaded: str) -> list[Any]:
    """A valid value for each parameter."""
    return [edges(each["parameter_name"], each["type"], uploaded)[0][-1] for each in parameters]


def test_each_endpoint_accepts_its_schema_and_explains_other_values(
    served: Served, endpoints: dict[str, list[Schema]], uploaded: str
) -> None:
    for endpoint, parameters in endpoints.items():
        values = usual(parameters, uploaded)
        for place, parameter in enumerate(parameters):
            name = parameter["parameter_name"]
            taken, refused = edges(name, parameter["type"], uploaded)
            for value in taken:
                answer = ask(served, endpoint, [*values[:place], value, *values[place + 1 :]])
                assert answer.startswith("complete"), (endpoint, name, value, answer)
            for value in refused:
                answer = ask(served, endpoint, [*values[:place], value, *values[place + 1 :]])
                assert answer.startswith("error"), (endpoint, name, value, answer)
                sentence = json.loads(answer.partition("data: ")[2])["error"]
                assert "Something went wrong" not in sentence, (endpoint, name, value)
                assert "Traceback" not in sentence
                assert re.match(f"{name} |A photo|The (file|picture)|These values|Web", sentence)
                assert sentence.endswith((".", "..."))
        answer = ask(served, endpoint, values[:-1])
        assert "These values cannot be read" in answer


def test_whole_numbers_may_be_written_in_several_ways(client: Client) -> None:
    said = [
        client.predict(handle_file(CAT), three, api_name="/analyze")["cuts"]
        for three in (3, 3.0, "3")
    ]

    assert said[0] == said[1] == said[2]
    assert len(said[0]) == 2
    for wrong in (2.5, None, 1e9, "three", [3], True):
        with pytest.raises(AppError, match="classes must be a whole number from 2 to 8, not "):
            client.predict(handle_file(CAT), wrong, api_name="/analyze")


def test_a_photo_of_many_megabytes_is_read_from_a_data_url_or_refused_by_its_size(
    served: Served,
) -> None:
    padded = CAT.read_bytes() + bytes(1_500_000)
    url = f"data:image/png;base64,{base64.b64encode(padded).decode()}"
    assert ask(served, "/breed", [url]).startswith("complete")

    larger = base64.b64encode(CAT.read_bytes() + bytes(26_000_000)).decode()
    answer = served.post("/gradio_api/call/breed", {"data": [f"data:image/png;base64,{larger}"]})
    assert answer.sentence == "The request is larger than the 4 MB allowed."


def test_the_tools_alone_tell_an_assistant_how_to_send_a_photo(served: Served) -> None:
    async def converse() -> None:
        headers = {"X-Forwarded-For": served.new_client()}
        async with (
            streamablehttp_client(f"{served.url}/gradio_api/mcp/", headers) as (read, write, _),
            ClientSession(read, write) as session,
        ):
            await session.initialize()
            for tool in (await session.list_tools()).tools:
                properties = tool.inputSchema["properties"]
                assert "url to a file" not in json.dumps(tool.inputSchema)
                assert "upload_file_to_gradio" not in (tool.description or "")
                assert "data:image/jpeg;base64," in properties["photo"]["description"]
                assert "data URL" in (tool.description or "")
                photo = {"photo": DATA}
                answer = await session.call_tool(tool.name, photo)
                assert not answer.isError, answer
                for name, schema in properties.items():
                    taken, refused = edges(name, schema, "") if name != "photo" else ([], NO_PHOTOS)
                    for value in taken[:-1]:
                        answer = await session.call_tool(tool.name, {**photo, name: value})
                        assert not answer.isError, (name, value, answer)
                    for value in refused:
                        answer = await session.call_tool(tool.name, {**photo, name: value})
                        assert answer.isError, (name, value, answer)
                        told = answer.model_dump_json()
                        assert "Traceback" not in told
                        assert "Something went wrong" not in told

    asyncio.run(converse())


def test_programs_read_the_page_s_own_english(served: Served) -> None:
    info = json.loads(served.ask("GET", "/gradio_api/info").body)["named_endpoints"]
    for name in ("analyze", "threshold", "mask", "cut_out", "breed"):
        assert info[f"/{name}"]["description"] == texts.say(f"programs.does.{name}")
