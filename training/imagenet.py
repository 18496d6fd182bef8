"""ImageNet's 1,000 classes: their names, the kind of thing each is, and which are our breeds.

A name is the first lemma of the class's synset in WordNet 3.0, as shipped with timm. WordNet
numbers noun synsets by subject, and animals by taxonomy, so an ID reveals the kind: Fellbaum (ed.),
"WordNet", MIT Press 1998; Russakovsky et al., "ImageNet large scale visual recognition challenge",
IJCV 2015.
"""

from collections.abc import Sequence
from typing import Any

# The last synset of each kind among the 1,000, in the order of the IDs.
LAST_OF_KIND = (
    ("n02077923", "other animal"),  # sea lion
    ("n02113978", "dog"),  # Mexican hairless; the dogs begin with the Chihuahua, n02085620
    ("n02120505", "other animal"),  # wolves, dingo and foxes
    ("n02124075", "cat"),  # tabby, tiger cat, Persian, Siamese and Egyptian cat
    ("n02655020", "other animal"),  # puffer
    ("n99999999", "thing"),  # people, plants, dishes and landscapes too
)

# The classes that are breeds of the Oxford-IIIT Pet data set, with that data set's names.
COUNTERPARTS = {
    "n02085620": "Chihuahua",
    "n02085782": "Japanese Chin",
    "n02088238": "Basset Hound",
    "n02088364": "Beagle",
    "n02093256": "Staffordshire Bull Terrier",
    "n02093428": "American Pit Bull Terrier",  # a synonym of the synset's
    "n02094433": "Yorkshire Terrier",
    "n02097298": "Scottish Terrier",
    "n02098105": "Wheaten Terrier",
    "n02100236": "German Shorthaired",
    "n02100735": "English Setter",
    "n02102318": "English Cocker Spaniel",
    "n02107312": "Miniature Pinscher",
    "n02108089": "Boxer",
    "n02109525": "Saint Bernard",
    "n02110958": "Pug",
    "n02111129": "Leonberger",
    "n02111277": "Newfoundland",
    "n02111500": "Great Pyrenees",
    "n02111889": "Samoyed",
    "n02112018": "Pomeranian",
    "n02112350": "Keeshond",
    "n02123394": "Persian",
    "n02123597": "Siamese",
    "n02124075": "Egyptian Mau",
}
SOURCE = (
    "names: first lemmas of WordNet 3.0, from timm; kinds: from the order of WordNet's IDs; "
    "breeds: training/imagenet.py"
)


def kind(synset: str) -> str:
    """The kind of a class: "dog", "cat" (domestic cats), "other animal" or "thing".

    Parameters
    ----------
    synset
        Its ID in WordNet 3.0, such as "n02106662".
    """
    return next(name for last, name in LAST_OF_KIND if synset <= last)


def classes(breeds: Sequence[str]) -> dict[str, Any]:
    """All classes in ImageNet's order, in the form of a card.

    Parameters
    ----------
    breeds
        Names of the model's own classes.

    Returns
    -------
    `names`; `kinds`, the first and the last class of each run of classes of one kind; and `breeds`,
    for each of the model's breeds the number of its class, if it has one.
    """
    from timm.data import ImageNetInfo

    info = ImageNetInfo()
    synsets: Sequence[str] = info.label_names()
    runs: list[dict[str, Any]] = []
    for number, synset in enumerate(synsets):
        if not runs or runs[-1]["kind"] != kind(synset):
            runs.append({"kind": kind(synset), "first": number, "last": number})
        runs[-1]["last"] = number
    return {
        "data": "ImageNet-1k",
        "source": SOURCE,
        "kinds": runs,
        "breeds": {
            COUNTERPARTS[synset]: number
            for number, synset in enumerate(synsets)
            if COUNTERPARTS.get(synset) in breeds
        },
        "names": [
            info.index_to_description(number).split(",")[0] for number in range(len(synsets))
        ],
    }
