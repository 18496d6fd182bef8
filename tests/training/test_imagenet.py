"""ImageNet's classes: their kinds, and which of them are breeds of the data set."""

import pytest

import training.torchvision_ops  # noqa: F401  (before timm)
from models import store
from training import imagenet


@pytest.fixture(scope="module")
def classes() -> dict[str, str]:
    """The kind of each class by its name; names that occur twice are of one kind."""
    told = imagenet.classes([])
    kinds = {}
    for run in told["kinds"]:
        for number in range(run["first"], run["last"] + 1):
            kinds[told["names"][number]] = run["kind"]
    assert len(told["names"]) == 1000
    return kinds


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("German shepherd", "dog"),
        ("Chihuahua", "dog"),
        ("Mexican hairless", "dog"),
        ("timber wolf", "other animal"),
        ("dingo", "other animal"),
        ("sea lion", "other animal"),
        ("tabby", "cat"),
        ("Egyptian cat", "cat"),
        ("cougar", "other animal"),
        ("tench", "other animal"),
        ("puffer", "other animal"),
        ("abacus", "thing"),
        ("espresso", "thing"),
        ("groom", "thing"),
        ("toilet tissue", "thing"),
    ],
)
def test_the_kind_is_known_from_the_id(classes: dict[str, str], name: str, kind: str) -> None:
    assert classes[name] == kind


def test_there_are_118_breeds_of_dogs_and_five_cats(classes: dict[str, str]) -> None:
    kinds = list(classes.values())
    assert kinds.count("dog") == 118
    assert kinds.count("cat") == 5


def test_each_counterpart_is_a_breed_of_the_data_set() -> None:
    labels = {label.name: label.species for label in store.read_card("breeds").labels}
    told = imagenet.classes(list(labels))

    assert set(told["breeds"]) == set(imagenet.COUNTERPARTS.values())
    names = {breed: told["names"][number] for breed, number in told["breeds"].items()}
    assert names["Pug"] == "pug"
    assert names["German Shorthaired"] == "German short-haired pointer"
    for breed, synset in ((breed, synset) for synset, breed in imagenet.COUNTERPARTS.items()):
        assert imagenet.kind(synset) == labels[breed]
    assert imagenet.classes(["Pug"])["breeds"] == {"Pug": told["breeds"]["Pug"]}
