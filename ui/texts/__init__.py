"""The page's texts in the visitor's language; `en.json` and `de.json` have all of them.

The English sentences of errors are in `models.errors`, because they are also needed without a page.

A function that answers a visitor calls `say`. The layout is built once for all visitors, so it
contains a `mark` for each text, which `Translation` replaces with the text when the page is sent.

The language is the browser's, or the one in the address, as in `?lang=de`.
"""

import csv
import html
import json
import re
import string
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Literal, get_args
from urllib.parse import parse_qs, urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from models.errors import SENTENCES, ExplainedError
from serving import internals

Language = Literal["en", "de"]
Text = str | Mapping[Literal["one", "other"], str]

DEFAULT: Language = "en"
PARAMETER = "lang"
TEXTS: dict[Language, dict[str, Text]] = {
    language: json.loads((Path(__file__).parent / f"{language}.json").read_text("utf-8"))
    for language in get_args(Language)
}
TEXTS[DEFAULT] |= {f"error.{key}": sentence for key, sentence in SENTENCES.items()}

NODE = Path(__file__).parent / "node.mjs"  # imported by Node before it renders pages

MARK = re.compile(r"\[\[([\w.-]+)((?: \w+=\d+)*)\]\]", re.ASCII)
SEPARATORS = str.maketrans(",.", ".,")  # 1,234.5 is 1.234,5 in German
SPACE = "\N{NO-BREAK SPACE}"  # before the percent sign, in German

# Breeds that have a name of their own in a language, by their English one. The tables say where
# each is from: the standard of the Fédération Cynologique Internationale (FCI), in that language,
# or the code in the Easy Mind System of the Fédération Internationale Féline (FIFe) under which it
# is listed.
BREEDS: dict[Language, dict[str, str]] = {}
for _language in get_args(Language):
    _file = Path(__file__).parent / f"breeds.{_language}.csv"
    _rows = csv.DictReader(_file.read_text("utf-8").splitlines()) if _file.exists() else ()
    BREEDS[_language] = {row["name"]: row["local_name"] for row in _rows}


def name_key(kind: str, name: str) -> str:
    """The key of a name's text: model.cell-nuclei for "Cell nuclei" of kind "model"."""
    return f"{kind}.{re.sub('[^a-z]+', '-', name.lower())}"


for _language, _names in BREEDS.items():  # beside the English name
    TEXTS[_language] |= {
        name_key("breed-name", name): f"{_names[name]} ({name})" if name in _names else name
        for name in BREEDS["de"]
    }


def say(key: str, **values: object) -> str:
    """A text in the language of the visitor whose request is being answered; otherwise in English.

    Parameters
    ----------
    key
        A key of `en.json`. The value `count` chooses between the forms "one" and "other" of a text.
    values
        Values for its placeholders; numbers are formatted for the language.
    """
    return _written(language(), key, values)


def say_to(scope: Scope, reason: str, values: Mapping[str, object]) -> str:
    """A sentence from the server itself, for the sender of a request; see `serving.messages`."""
    return _written(_requested(scope), f"server.{reason}", values)


def raw(key: str) -> str:
    """A text with its placeholders, for a script to fill."""
    return str(TEXTS[language()][key])


def say_error(error: ExplainedError) -> str:
    """The error's sentence in the visitor's language."""
    return say(f"error.{error.key}", **error.values)


def say_name(kind: str, name: str) -> str:
    """A name from a model's card in the visitor's language; unchanged if it has no text."""
    key = name_key(kind, name)
    return say(key) if key in TEXTS[DEFAULT] else name


def mark(key: str, **values: int) -> str:
    """The mark of a text in the layout, with numbers for its placeholders.

    Raises
    ------
    TypeError
        If the text has several forms, or other placeholders.
    """
    text = TEXTS[DEFAULT][key]
    if not isinstance(text, str):
        raise TypeError(f"The text {key!r} has several forms.")
    if {name for _, name, _, _ in string.Formatter().parse(text) if name} != set(values):
        raise TypeError(f"The text {key!r} has other placeholders.")
    given = "".join(f" {name}={value}" for name, value in values.items())
    return f"[[{key}{given}]]"


def mark_name(kind: str, name: str) -> str:
    """`say_name` for the layout."""
    key = name_key(kind, name)
    return mark(key) if key in TEXTS[DEFAULT] else name


def mark_breed(name: str) -> str:
    """`say_breed` with both names, for the layout."""
    return mark_name("breed-name", name)


def number(value: float, spec: str) -> str:
    """A number in the visitor's language: `number(0.916, ".1%")` is 91.6% or 91,6 %."""
    return _localized(format(value, spec), language())


def percent(share: float, decimals: int = 1) -> str:
    """A share in percent in the visitor's language, never 100% or 0%: nothing is certain."""
    least = 10.0 ** -(decimals + 2)
    if share > 0.99:
        return f">{number(0.99, '.0%')}"
    if share < least:
        return f"<{number(least, f'.{decimals}%')}"
    return number(share, f".{decimals}%")


def say_breed(name: str, both: bool = False) -> str:
    """A breed in the visitor's language; with `both`, also in English."""
    return say_name("breed-name", name) if both else BREEDS[language()].get(name, name)


def language() -> Language:
    """The language of the visitor whose request is being answered."""
    request = internals.current_request()
    if request is None:
        return DEFAULT
    return choose(request.query_params.get(PARAMETER), request.headers.get("accept-language", ""))


def page_address() -> str:
    """The address of the page that the visitor has open, as people write it; may be empty."""
    request = internals.current_request()
    address = urlsplit(request.headers.get("referer", "")) if request else urlsplit("")
    return f"{address.netloc}{address.path}".rstrip("/")


def choose(wanted: str | None, accepted: str) -> Language:
    """The language of the page.

    Parameters
    ----------
    wanted
        The language in the address; unknown ones are ignored.
    accepted
        The browser's Accept-Language header (RFC 9110, section 12.5.4).
    """
    if wanted in TEXTS:
        return wanted
    ranked = []
    for entry in accepted.split(","):
        tag, _, quality = entry.partition(";q=")
        with suppress(ValueError):  # headers may contain anything
            ranked.append((float(quality or 1), tag.strip().partition("-")[0].lower()))
    ranked.sort(key=lambda each: -each[0])
    return next((tag for quality, tag in ranked if tag in TEXTS and quality > 0), DEFAULT)


# What other sites show for a link to the page; Gradio's own says "Gradio".
PREVIEW_FILE = "preview.jpg"
PREVIEW = re.compile(r'<meta\s+(?:property|name)="(?:og|twitter):[^>]*>\s*')
ROOT = re.compile(r'"root":\s*"([^"]*)"')  # the address that the visitor used, as Gradio knows it

# Gradio's own texts follow the browser's language, which is therefore set to the page's; a link to
# the other page keeps the language in the address.
SPEAK = f"""<script>
Object.defineProperty(navigator, "language", {{ value: document.documentElement.lang }});
addEventListener("click", (event) => {{
  const link = event.target.closest?.("nav a, a.language");
  if (!link) return;
  const here = new URLSearchParams(location.search);
  const wanted = here.get("{PARAMETER}");
  if (link.matches(".language")) {{ // the same view in the other language
    here.set("{PARAMETER}", new URLSearchParams(link.search).get("{PARAMETER}"));
    link.search = here;
  }} else if (wanted) link.search = new URLSearchParams({{ {PARAMETER}: wanted }});
}}, true);
</script>"""


class Translation:
    """ASGI middleware that replaces the marks in the page with texts in the visitor's language.

    Gradio sends the layout inside the page, and as /config to a page that Node rendered.
    """

    def __init__(self, app: ASGIApp, paths: tuple[str, ...]) -> None:
        self.app, self.paths = app, paths

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, and translate the answer if it is a page."""
        if scope["type"] != "http" or scope["path"].strip("/") not in self.paths:
            await self.app(scope, receive, send)
            return
        language = _requested(scope)
        start: Message = {}
        parts: list[bytes] = []

        async def translate(message: Message) -> None:
            if message["type"] == "http.response.start":
                start.update(message)
                return
            parts.append(message.get("body", b""))
            if message.get("more_body"):
                return
            body = translated(b"".join(parts).decode(), language).encode()
            headers = MutableHeaders(scope=start)
            if "content-length" in headers:
                headers["content-length"] = str(len(body))
            headers["content-language"] = language
            headers.add_vary_header("Accept-Language")
            await send(start)
            await send({"type": "http.response.body", "body": body})

        await self.app(scope, receive, translate)


def translated(page: str, language: Language) -> str:
    """A page with its marks replaced by a language's texts."""

    def text(found: re.Match[str]) -> str:
        key, given = found[1], re.findall(r"(\w+)=(\d+)", found[2])
        if key not in TEXTS[language]:
            return found[0]
        return _written(language, key, {name: int(value) for name, value in given})

    # No text contains a character with a special meaning in HTML, JSON or JavaScript.
    page = MARK.sub(text, page)
    if "<head>" in page:
        page = PREVIEW.sub("", page)
        page = page.replace("<head>", f"<head>{_preview(page, language)}", 1)
    page = re.sub(r'(<html\s+lang=)"en"', rf'\1"{language}"', page, count=1)
    return page.replace("<head>", f"<head>{SPEAK}", 1)


def _preview(page: str, language: Language) -> str:
    root = found[1] if (found := ROOT.search(page)) else ""
    description = html.escape(str(TEXTS[language]["page.subtitle"]))
    about = {
        "og:type": "website",
        "og:title": "Petscope",
        "og:description": description,
        "og:url": f"{root}/",
        "og:image": f"{root}/{PREVIEW_FILE}",
        "og:image:width": "1200",
        "og:image:height": "630",
        "twitter:card": "summary_large_image",
    }
    metas = "".join(f'<meta property="{name}" content="{text}">' for name, text in about.items())
    return f'<meta name="description" content="{description}">{metas}'


def _requested(scope: Scope) -> Language:
    headers = Headers(scope=scope)
    # A page that Node rendered requests /config without the page's own parameters.
    queries = scope["query_string"].decode("latin-1"), _query(headers.get("referer", ""))
    wanted = [value for query in queries for value in parse_qs(query).get(PARAMETER, [])]
    return choose(next(iter(wanted), None), headers.get("accept-language", ""))


def _query(address: str) -> str:
    try:
        return urlsplit(address).query
    except ValueError:  # no address
        return ""


def _localized(formatted: str, language: Language) -> str:
    if language == "en":
        return formatted
    return formatted.translate(SEPARATORS).replace("%", f"{SPACE}%")


def _written(language: Language, key: str, values: Mapping[str, object]) -> str:
    text = TEXTS[language][key]
    if not isinstance(text, str):
        text = text["one" if values["count"] == 1 else "other"]
    return _Formatter(language).format(text, **values)


class _Formatter(string.Formatter):
    def __init__(self, language: Language) -> None:
        self.language = language

    def format_field(self, value: object, spec: str) -> str:
        formatted = format(value, spec)
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        return _localized(formatted, self.language) if is_number else formatted
