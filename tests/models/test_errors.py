import json
import pickle

import pytest

from models.errors import SENTENCES, ExplainedError
from models.images import PhotoError
from models.thresholding import ThresholdError

LARGE = {"width": 9000, "height": 8000, "megapixels": 50}


@pytest.mark.parametrize("kind", [PhotoError, ThresholdError])
def test_an_error_says_its_english_sentence(kind: type[ExplainedError]) -> None:
    assert str(kind("photo_too_many_pixels", **LARGE)) == (
        "The picture has 9000 x 8000 pixels, more than the 50 megapixels allowed: "
        "please send a smaller copy."
    )


def test_an_error_can_be_sent_to_another_process_as_json_or_pickle() -> None:
    error = PhotoError("photo_too_many_pixels", **LARGE)

    sent = json.loads(json.dumps({"key": error.key, "values": error.values}))
    pickled = pickle.loads(pickle.dumps(error))  # noqa: S301

    for again in (PhotoError(sent["key"], **sent["values"]), pickled):
        assert type(again) is PhotoError
        assert (again.key, again.values, str(again)) == (error.key, error.values, str(error))


@pytest.mark.parametrize("sentence", SENTENCES.values())
def test_each_is_one_sentence(sentence: str) -> None:
    assert sentence[0].isupper()
    assert sentence.endswith(".")
    assert ". " not in sentence
