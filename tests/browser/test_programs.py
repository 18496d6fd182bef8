"""The page for programs and its promises: from Python, from a shell and over MCP."""

import ast
import asyncio
import base64
import json
import re
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

import numpy as np
import pytest
import tifffile
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError
from mcp import ClientSession
from mcp.client.streamable_http import streamablehttp_client
from mcp.types import TextContent
from PIL import Image
from playwright.sync_api import Page, expect

from models import images, pipeline, thresholding
from models.__main__ import main
from tests.browser.visits import Served
from ui import programs

pytestmark = pytest.mark.browser

EXAMPLES = Path(__file__).parent.parent.parent / "examples"
CAT = EXAMPLES / "cat_chelsea.png"
NUCLEI = EXAMPLES / "nuclei.png"
ENDPOINTS = {"/analyze", "/threshold", "/mask", "/count", "/cut_out", "/breed"}


@pytest.fixture(scope="module")
def client(served: Served, tmp_path_factory: pytest.TempPathFactory) -> Client:
    return Client(served[0], verbose=False, download_files=tmp_path_factory.mktemp("answers"))


def test_programs_are_offered_these_endpoints_and_nothing_of_the_page(client: Client) -> None:
    offered = client.view_api(return_format="dict")

    assert set(offered["named_endpoints"]) == ENDPOINTS
    assert offered["unnamed_endpoints"] == {}


def test_a_photo_is_analyzed_as_on_the_command_line(client: Client) -> None:
    answer = client.predict(handle_file(CAT), 4, api_name="/analyze")

    expected = json.loads(json.dumps(pipeline.describe(images.open_photo(CAT), 4)))
    (pet,), (expected_pet,) = answer.pop("pets"), expected.pop("pets")
    assert answer == expected
    assert pet.keys() == expected_pet.keys()
    assert pet["box"] == expected_pet["box"]
    for each, expected_breed in zip(pet["breeds"], expected_pet["breeds"], strict=True):
        assert each == pytest.approx(expected_breed, abs=1e-4)


def test_a_threshold_comes_as_cuts_and_as_a_picture(client: Client) -> None:
    path, facts = client.predict(handle_file(CAT), 3, "red", api_name="/threshold")

    gray = images.open_photo(CAT)[:, :, 0]
    assert facts["cuts"] == thresholding.multi_otsu(gray, 3).tolist()
    assert sum(each["share"] for each in facts["classes"]) == pytest.approx(1)
    with Image.open(path) as picture:
        np.testing.assert_array_equal(picture, np.digitize(gray, facts["cuts"], right=True))


def test_a_mask_has_the_values_that_are_promised(client: Client) -> None:
    path, shares = client.predict(handle_file(CAT), "pet", api_name="/mask")

    with Image.open(path) as picture:
        values = np.array(picture)
    assert list(shares) == ["pet", "background", "border"]
    for value, share in enumerate(shares.values(), start=1):
        assert (values == value).mean() == pytest.approx(share)


def test_nuclei_are_counted_as_on_the_command_line(
    client: Client, capsys: pytest.CaptureFixture[str]
) -> None:
    path, facts = client.predict(handle_file(NUCLEI), "nuclei", api_name="/count")

    assert main([str(NUCLEI), "--count", "nuclei"]) == 0
    expected = json.loads(capsys.readouterr().out)
    assert (facts["count"], facts["objects"]) == (expected["count"], expected["objects"])
    labels = tifffile.imread(path)
    assert labels.shape == (512, 512)
    assert facts["count"] == labels.max() == len(facts["objects"]) > 10
    for row in facts["objects"]:
        assert row["area"] == np.count_nonzero(labels == row["number"])


def test_a_cut_out_has_the_photo_s_size_and_a_transparent_ground(client: Client) -> None:
    path = client.predict(handle_file(CAT), api_name="/cut_out")

    with Image.open(path) as picture:
        assert (picture.mode, picture.size) == ("RGBA", (451, 300))
        assert picture.getchannel("A").getpixel((300, 150)) == 255
        assert picture.getpixel((445, 20)) == (0, 0, 0, 0)


def test_the_breeds_come_best_first(client: Client) -> None:
    ranking = client.predict(handle_file(CAT), api_name="/breed")

    assert len(ranking) == 5
    assert ranking[0]["species"] == "cat"
    assert ranking == sorted(ranking, key=lambda each: -each["probability"])


@pytest.mark.parametrize(
    ("photo", "words", "endpoint", "sentence"),
    [
        (b"not a picture", [3], "/analyze", "damaged or not a picture"),
        (None, [3], "/analyze", "A photo is needed"),
        (CAT, [99], "/analyze", "99"),
        (CAT, [3, "smell"], "/threshold", "smell"),
        (CAT, ["../../etc/passwd"], "/mask", "etc/passwd"),
        (CAT, ["pet"], "/count", "must be one of nuclei"),
    ],
)
def test_bad_input_gets_one_sentence(
    client: Client,
    tmp_path: Path,
    photo: bytes | Path | None,
    words: list[Any],
    endpoint: str,
    sentence: str,
) -> None:
    if isinstance(photo, bytes):
        (tmp_path / "photo.jpg").write_bytes(photo)
        photo = tmp_path / "photo.jpg"

    with pytest.raises(AppError) as error:
        client.predict(handle_file(photo) if photo else None, *words, api_name=endpoint)

    assert sentence in str(error.value)
    assert "Traceback" not in str(error.value)


def test_the_page_shows_calls_that_work_as_they_stand(
    page: Page, served: Served, tmp_path: Path
) -> None:
    link = page.get_by_role("link", name="For programs").get_attribute("href")
    # In a new tab: leaving the page would abort its pending requests.
    page = page.context.new_page()
    page.goto(urljoin(served[0], link))
    for name in ENDPOINTS:
        expect(page.get_by_role("heading", name=name)).to_be_visible()
    shell = page.locator(".cm-content", has_text="curl")
    expect(shell).to_contain_text(served[0])
    expect(page.get_by_text(programs.PLACE)).to_have_count(0)
    command = "\n".join(shell.locator(".cm-line").all_inner_texts())
    page.close()
    if not (shutil.which("curl") and shutil.which("jq")):
        pytest.skip("needs curl and jq")
    shutil.copy(CAT, tmp_path / "cat.jpg")

    answer = subprocess.run(
        ["sh", "-c", command], cwd=tmp_path, capture_output=True, text=True, check=True
    ).stdout

    data = re.search("event: complete\ndata: (.*)", answer)
    assert data, answer
    assert json.loads(data[1])[0]["pets"][0]["breeds"][0]["species"] == "cat"


def test_an_assistant_finds_the_tools_and_uses_one(served: Served) -> None:
    async def ask() -> tuple[dict[str, str], str]:
        async with (
            streamablehttp_client(f"{served[0]}/gradio_api/mcp/") as (read, write, _),
            ClientSession(read, write) as session,
        ):
            await session.initialize()
            listed = (await session.list_tools()).tools
            tools = {tool.name: tool.description or "" for tool in listed}
            name = next(name for name in tools if name.endswith("breed"))
            photo = base64.b64encode(CAT.read_bytes()).decode()
            answer = await session.call_tool(name, {"photo": f"data:image/png;base64,{photo}"})
            content = answer.content[0]
            assert isinstance(content, TextContent)
            return tools, content.text

    with ThreadPoolExecutor() as pool:  # the browser's event loop runs in this thread
        tools, answer = pool.submit(asyncio.run, ask()).result()

    for each in ENDPOINTS:
        assert any(name.endswith(each.lstrip("/")) for name in tools)
    assert len(tools) == len(ENDPOINTS)
    assert "most probable breeds" in next(text for name, text in tools.items() if "breed" in name)
    assert ast.literal_eval(answer)[0]["species"] == "cat"
