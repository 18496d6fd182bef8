"""Parameters of the endpoints for programs: values outside the schema get one sentence.

Gradio's own components would pass other values on to the function, or fail.
"""

from collections.abc import Sequence
from typing import Any

import gradio as gr
from gradio.data_classes import ImageData

from ui.photo_input import PhotoInput
from ui.uploads import Upload

NO_PHOTO = "A photo is needed."
PHOTO = (
    "A picture file: what gradio_client's handle_file makes of its path, the path that "
    "/gradio_api/upload returns, or a data URL, as in data:image/jpeg;base64,/9j/4AAQ..."
)
DATA_URL = "A data URL, as in data:image/jpeg;base64,/9j/4AAQ... Web addresses are not fetched."


class PhotoParameter(PhotoInput):
    """A photo from a program, as an `Upload`."""

    data_model = None  # type: ignore[assignment]  # Gradio's fails on invalid data

    def get_block_name(self) -> str:
        """Return the name of the front end's component; Gradio would return the base class's."""
        return gr.Image.__name__.lower()

    def preprocess(self, payload: Any) -> Upload | None:  # type: ignore[override]  # noqa: ANN401
        """Return the upload; a data URL has already become one."""
        if payload is None:
            raise _refused(NO_PHOTO)
        path = payload.get("path") if isinstance(payload, dict) else None
        if not isinstance(path, str) or "meta" not in payload:
            raise _refused(f"photo cannot be read. {PHOTO}")
        return Upload(path)

    def api_info(self) -> dict[str, Any]:
        """The schema."""
        schema = ImageData.model_json_schema()
        schema.pop("description", None)
        schema["additional_description"] = PHOTO
        schema["properties"]["url"]["description"] = DATA_URL
        return schema


class WholeNumberParameter(gr.Number):
    """A whole number between two others."""

    is_template = True

    def __init__(self, least: int, most: int, value: int, label: str) -> None:
        super().__init__(value, minimum=least, maximum=most, precision=0, label=label)
        self._range = least, most

    def preprocess(self, payload: Any) -> int:  # noqa: ANN401
        """Return the number; 3.0 and "3" are 3."""
        least, most = self._range
        try:
            if isinstance(payload, bool) or not isinstance(payload, int | float | str):
                raise ValueError
            number = float(payload)
            if number != int(number) or not least <= number <= most:
                raise ValueError
        except (ValueError, OverflowError):
            whole = f"{self.label} must be a whole number from {least} to {most}"
            raise _refused(f"{whole}, not {_shown(payload)}.") from None
        return int(number)

    def api_info(self) -> dict[str, Any]:
        """The schema."""
        least, most = self._range
        return {
            "type": "integer",
            "minimum": least,
            "maximum": most,
            "description": f"a whole number from {least} to {most}",
        }


class ChoiceParameter(gr.Dropdown):
    """One of several words."""

    is_template = True

    def __init__(self, words: Sequence[str], value: str, label: str) -> None:
        super().__init__(list(words), value=value, label=label)
        self._words = tuple(words)

    def preprocess(self, payload: Any) -> str:  # noqa: ANN401
        """Return the word."""
        if not isinstance(payload, str) or payload not in self._words:
            words = ", ".join(self._words)
            raise _refused(f"{self.label} must be one of {words}, not {_shown(payload)}.")
        return payload


def _refused(sentence: str) -> gr.Error:
    return gr.Error(sentence, print_exception=False)


def _shown(value: object) -> str:
    """A value as a program sent it, shortened."""
    text = "null" if value is None else repr(value)
    return text if len(text) <= 60 else f"{text[:60]}..."
