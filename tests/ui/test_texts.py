"""The texts are complete in both languages, and visitors get those of their own."""

import ast
import json
import re
import string
from collections.abc import Iterator
from pathlib import Path

import gradio as gr
import numpy as np
import pytest
from gradio.context import LocalContext
from PIL import Image
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from models import drawing, store
from models.breeds import Breed, Classification, Otherwise
from models.cards import Label
from models.errors import SENTENCES
from models.images import PhotoError
from models.pipeline import Pet
from models.regions import Region
from serving import messages
from ui import mask_lesson, pets, texts, theme, threshold
from ui.breed import bars, unknown
from ui.texts import (
    BREEDS,
    TEXTS,
    Language,
    Text,
    Translation,
    choose,
    mark,
    number,
    percent,
    say,
    say_breed,
    say_error,
    say_name,
    say_to,
    translated,
)

UI = Path(texts.__file__).parent.parent
CALLS = {"say", "mark", "raw"}  # their first argument is a key


@pytest.fixture
def in_german() -> Iterator[None]:
    scope = {
        "type": "http",
        "query_string": b"",
        "headers": [(b"accept-language", b"de-DE,de;q=0.9")],
    }
    token = LocalContext.request.set(gr.Request(Request(scope)))
    yield
    LocalContext.request.reset(token)


def forms(text: Text) -> dict[str, str]:
    return {"": text} if isinstance(text, str) else {form: text[form] for form in text}


def placeholders(text: Text) -> dict[str, set[str]]:
    return {
        form: {name for _, name, _, _ in string.Formatter().parse(each) if name}
        for form, each in forms(text).items()
    }


def used_keys() -> tuple[set[str], set[str]]:
    """Keys that occur in the code, and patterns for those that it composes."""
    whole, patterns = set(), set()
    for file in UI.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            if isinstance(node, ast.JoinedStr) and isinstance(node.values[0], ast.Constant):
                parts = [
                    re.escape(str(part.value)) if isinstance(part, ast.Constant) else r"[\w-]+"
                    for part in node.values
                ]
                patterns.add("".join(parts))
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                whole.add(node.value)
    return whole, {pattern for pattern in patterns if re.match(r"[a-z_]+\\\.", pattern)}


def test_both_languages_have_the_same_texts_in_the_same_order() -> None:
    assert list(TEXTS["en"]) == list(TEXTS["de"])


@pytest.mark.parametrize("key", TEXTS["en"])
def test_both_texts_have_the_same_forms_and_placeholders(key: str) -> None:
    english, german = (placeholders(TEXTS[language][key]) for language in ("en", "de"))

    assert english.keys() == german.keys()
    assert english.keys() in ({""}, {"one", "other"})
    for form in english:
        assert english[form] == german[form]


@pytest.mark.parametrize("language", TEXTS)
def test_no_text_holds_what_html_json_or_a_script_would_take_for_more(language: Language) -> None:
    for text in TEXTS[language].values():
        for each in forms(text).values():
            assert not re.search(r"""[<>&"'`\\\n]|\$\{""", each), each


def test_german_has_its_own_punctuation() -> None:
    for text in TEXTS["de"].values():
        for each in forms(text).values():
            assert not re.search(r"\d\.\d|[“”]\w|\.\.\.| - |\bSie\b|\bIhr\b", each), each


def test_every_text_is_used_and_every_used_text_is_there() -> None:
    whole, patterns = used_keys()
    # Names come from models' cards, and errors from `models`.
    patterns |= {r"(species|class|model|breed-name)\.[\w-]+", "(error|server)\\.[\\w-]+"}
    for key in TEXTS["en"]:
        assert key in whole or any(re.fullmatch(each, key) for each in patterns), f"unused: {key}"
    for file in UI.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            if not isinstance(node, ast.Call):
                continue
            name = getattr(node.func, "id", getattr(node.func, "attr", None))
            if name in CALLS and isinstance(node.args[0], ast.Constant):
                key = str(node.args[0].value)
                assert key in TEXTS["en"], f"{file.name}: {key}"


def test_the_errors_are_those_of_the_models() -> None:
    named = {key for key in TEXTS["en"] if key.startswith("error.")}

    assert named == {f"error.{key}" for key in SENTENCES}
    for key, sentence in SENTENCES.items():
        assert TEXTS["en"][f"error.{key}"] == sentence
    own = json.loads((UI / "texts" / "en.json").read_text("utf-8"))
    assert not any(key.startswith("error.") for key in own)  # each exists only once


def test_the_server_s_own_messages_have_a_text() -> None:
    named = {key for key in TEXTS["en"] if key.startswith("server.")}

    assert named == {f"server.{key}" for key in messages.KEYS}


@pytest.mark.parametrize(
    ("header", "value", "start"),
    [
        ("accept-language", "de-DE", "Petscope ist beschäftigt: Du wärst Nummer 4"),
        ("referer", "http://testserver/?lang=de", "Petscope ist beschäftigt: Du wärst Nummer 4"),
        ("accept-language", "fr", "Petscope is busy: you would be number 4"),
    ],
)
def test_the_server_speaks_the_language_of_the_page(header: str, value: str, start: str) -> None:
    headers = [(header.encode(), value.encode())]
    scope = {"type": "http", "query_string": b"", "headers": headers}

    assert say_to(scope, "queue", {"place": 4, "seconds": 2}).startswith(start)


@pytest.mark.parametrize(
    ("wanted", "accepted", "language"),
    [
        (None, "de", "de"),
        (None, "de-AT,en;q=0.5", "de"),
        (None, "fr,de;q=0.3,en;q=0.7", "en"),
        (None, "EN;q=0.1, DE;q=0.2", "de"),
        (None, "de;q=0", "en"),
        (None, "fr", "en"),
        (None, "", "en"),
        (None, "*", "en"),
        (None, ";;,q=,de;q=x,\x00", "en"),
        ("de", "en", "de"),
        ("en", "de", "en"),
        ("klingon", "de", "de"),
        ("../../etc/passwd", "", "en"),
    ],
)
def test_the_address_decides_the_language_and_then_the_browser(
    wanted: str | None, accepted: str, language: str
) -> None:
    assert choose(wanted, accepted) == language


@pytest.mark.usefixtures("in_german")
def test_numbers_counts_and_errors_are_said_in_german() -> None:
    assert number(0.9163, ".1%") == "91,6\N{NO-BREAK SPACE}%"
    assert number(1234567, ",") == "1.234.567"
    assert say("lesson.px", area=1234.5) == "1.234 px"
    assert say("album.done", count=1) == "1 Foto ausgewertet."
    assert say("album.done", count=1200) == "1200 Fotos ausgewertet."
    assert say_name("class", "nucleus") == "Zellkern"
    assert say_name("class", "mitochondrion") == "mitochondrion"
    error = PhotoError("photo_too_large", megabytes=25)
    assert say_error(error).startswith("Die Datei ist größer als die erlaubten 25 MB")
    assert str(error).startswith("The file is larger")


def test_outside_a_request_texts_are_english() -> None:
    assert number(0.9163, ".1%") == "91.6%"
    assert say("album.done", count=2) == "2 photos analysed."


def test_a_mark_needs_a_text_without_values() -> None:
    assert mark("pets.hint") == "[[pets.hint]]"
    with pytest.raises(KeyError):
        mark("pets.nonsense")
    with pytest.raises(TypeError):
        mark("pets.found")
    with pytest.raises(TypeError):
        mark("album.hint")


@pytest.mark.parametrize("language", TEXTS)
def test_what_is_drawn_into_pictures_has_letters_that_the_font_has(language: Language) -> None:
    font = drawing._font(40)
    lacking = bytes(font.getmask("\uffff"))
    texts = [str(TEXTS[language][key]) for key in ("pets.unsure", "pets.made")]
    letters = set("".join([*texts, *BREEDS[language].values(), "ÄÖÜäöüß>\N{NO-BREAK SPACE}%"]))

    assert not [letter for letter in letters if bytes(font.getmask(letter)) == lacking]


@pytest.mark.usefixtures("in_german")
def test_a_name_in_a_picture_is_german_too() -> None:
    labels = (Label("Newfoundland"), Label("Pug"))
    answer = Classification(np.array([0.987, 0.013], np.float32), labels)
    pet = Pet(Region.of_mask(np.ones((2, 2), np.bool_)), (0, 0, 2, 2), (), answer)

    assert pets.label(1, pet) == "1 Neufundländer 99\N{NO-BREAK SPACE}%"


@pytest.mark.parametrize(
    ("share", "decimals", "english", "german"),
    [
        (1.0, 1, ">99%", ">99\N{NO-BREAK SPACE}%"),
        (0.9951, 1, ">99%", ">99\N{NO-BREAK SPACE}%"),
        (0.9899, 1, "99.0%", "99,0\N{NO-BREAK SPACE}%"),
        (0.9899, 0, "99%", "99\N{NO-BREAK SPACE}%"),
        (0.00099, 1, "<0.1%", "<0,1\N{NO-BREAK SPACE}%"),
        (0.004, 0, "<1%", "<1\N{NO-BREAK SPACE}%"),
        (0.0, 1, "<0.1%", "<0,1\N{NO-BREAK SPACE}%"),
    ],
)
def test_nothing_is_sure_or_impossible(
    share: float, decimals: int, english: str, german: str, request: pytest.FixtureRequest
) -> None:
    assert percent(share, decimals) == english
    request.getfixturevalue("in_german")
    assert percent(share, decimals) == german


def test_breeds_that_are_hardly_possible_are_not_listed() -> None:
    ranking = [Breed(name, "dog", share) for name, share in (("Pug", 0.9991), ("Boxer", 0.0005))]

    assert bars(ranking).count("<li>") == 1
    assert bars(ranking[1:]).count("<li>") == 1  # the first is in any case
    assert "&gt;99%" in bars(ranking)


@pytest.mark.usefixtures("in_german")
def test_german_breeds_stand_beside_their_english_names() -> None:
    assert say_breed("Pug") == "Mops"
    assert "Mops (Pug)" in bars([Breed("Pug", "dog", 0.5)])
    assert say_breed("Sphynx", both=True) == "Sphynx"
    card = store.read_card("breeds")
    names = {label.name for label in card.labels} | set(card.facts["otherwise"]["names"])
    assert set(BREEDS["de"]) <= names
    assert "„Deutscher Schäferhund“" in unknown(Otherwise("German shepherd", "dog", 0.9), 37)


def test_other_sites_show_what_a_link_leads_to() -> None:
    gradio_s = '<meta property="og:title" content="Gradio" /><meta name="twitter:creator" />'
    config = '<script>window.gradio_config = {"root":"https://example.org/pets"}</script>'
    page = translated(f"<head>{gradio_s}{config}</head>", "de")

    assert "Gradio" not in page.replace("gradio_config", "")
    assert 'property="og:title" content="Petscope"' in page
    assert 'property="og:image" content="https://example.org/pets/preview.jpg"' in page
    assert "Katzen und Hunde" in page
    with Image.open(theme.PREVIEW) as picture:
        assert picture.size == (1200, 630)


@pytest.mark.usefixtures("in_german")
def test_answers_of_the_tabs_are_german() -> None:
    assert "Such ein Foto aus" in pets.show_pets(None)[0]
    assert "Verfahren" in threshold.show_methods(None, "luminance")[0]
    assert "Zellkern aufhört" not in mask_lesson.explain("pet")
    assert "wo ein Tier aufhört" in mask_lesson.explain("pet")


def page(request: Request) -> HTMLResponse:
    return HTMLResponse('<!doctype html>\n<html\n\tlang="en"><head></head>[[pets.hint]] [[a.b]]')


def config(request: Request) -> JSONResponse:
    return JSONResponse({"label": mark("pets.hint"), "values": [[1]]})


@pytest.fixture
def client() -> TestClient:
    routes = [Route("/", page), Route("/config", config), Route("/file", page)]
    return TestClient(
        Starlette(routes=routes, middleware=[Middleware(Translation, paths=("", "config"))])
    )


def test_a_page_is_sent_in_the_visitor_s_language(client: TestClient) -> None:
    german = client.get("/", headers={"Accept-Language": "de"})
    english = client.get("/?lang=en", headers={"Accept-Language": "de"})

    assert 'lang="de"' in german.text
    assert str(TEXTS["de"]["pets.hint"]) in german.text
    assert "[[a.b]]" in german.text  # none of the app's texts
    assert (german.headers["content-language"], german.headers["vary"]) == ("de", "Accept-Language")
    assert str(TEXTS["en"]["pets.hint"]) in english.text
    assert int(german.headers["content-length"]) == len(german.content)


def test_a_page_that_node_rendered_gets_its_layout_in_its_own_language(client: TestClient) -> None:
    referer = {"Referer": "http://testserver/?tab=mask&lang=de"}

    assert client.get("/config", headers=referer).json() == {
        "label": TEXTS["de"]["pets.hint"],
        "values": [[1]],
    }


def test_a_mark_s_numbers_are_put_into_its_text() -> None:
    page = f"<p>{mark('album.hint', limit=1200)}</p>"

    assert translated(page, "en").startswith("<p>Drop up to 1200 photos.")
    assert translated(page, "de").startswith("<p>Zieh bis zu 1200 Fotos")


def test_other_answers_are_sent_as_they_are(client: TestClient) -> None:
    answer = client.get("/file", headers={"Accept-Language": "de"})

    assert "[[pets.hint]]" in answer.text
    assert "content-language" not in answer.headers


def test_the_layout_is_built_of_texts_that_are_there() -> None:
    from ui import page

    layout = str(page.build().get_config_file())
    gr.close_all()

    found = {match[1] for match in texts.MARK.finditer(layout)}
    assert found <= TEXTS["en"].keys()
    assert len(found) > 70
