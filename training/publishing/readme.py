"""The README of a model's repository, made from the card."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from huggingface_hub import EvalResult, ModelCard, ModelCardData

from models.cards import Card
from training import starting_weights
from training.data_sets import OFFICIAL

LIBRARIES = {"timm": "timm", "smp": "segmentation-models-pytorch", "keras": "keras"}
PIPELINES = {
    "classification": "image-classification",
    "segmentation": "image-segmentation",
    "detection": "object-detection",
}

STARTING = "starting-weights"  # folder of a repository
FEW = 10  # figures of a group with more, such as those of single breeds, are folded


@dataclass(frozen=True)
class Measurement:
    """Figures that were measured together.

    Attributes
    ----------
    name
        What the card calls them, such as "test".
    split
        The part of the data set.
    facts
        How they were measured: pictures, size, command.
    figures
        Single numbers by their names.
    groups
        Groups of more than `FEW` numbers.
    """

    name: str
    split: str
    facts: dict[str, Any]
    figures: dict[str, float]
    groups: dict[str, dict[str, float]]


def model_readme(
    card: Card,
    repo: str,
    frameworks: Sequence[str],
    paths: Sequence[str],
    half_size: bool = False,
) -> str:
    """The README of a model's repository: the Hub's metadata, and a page for people.

    All figures come from the card.

    Parameters
    ----------
    frameworks
        Of the training runs whose weights lie beside the ONNX file, in their order.
    paths
        Of the other files in the repository.
    half_size
        Whether the first run's network is a `training.half_size_unet.HalfSizeUnet`.
    """
    facts = card.facts
    data = facts["training"]["data"]
    measured = list(measurements(facts.get("metrics", {})))
    slug = _slug(data)
    task = PIPELINES[card.task]
    metadata = ModelCardData(
        license=facts["license"],
        library_name=LIBRARIES[frameworks[0]] if frameworks else "onnx",
        pipeline_tag=task,
        tags=[task, "petscope", "onnx", *(LIBRARIES[name] for name in frameworks)],
        datasets=[slug] if data in OFFICIAL else None,
        base_model=facts.get("base_model") or _base_models(facts),
        model_name=card.name,
        eval_results=[
            EvalResult(
                task_type=task,
                dataset_type=slug,
                dataset_name=data,
                dataset_split=measurement.split,
                metric_type=_slug(figure),
                metric_name=f"{measurement.name}: {figure}",
                metric_value=value,
            )
            for measurement in measured
            if measurement.split == measurement.name  # no figures of a part stand beside others'
            for figure, value in measurement.figures.items()
        ]
        or None,
    )
    sections = {
        "Use": _usage(card.name, repo, frameworks, half_size),
        "Results": "\n\n".join(map(_results, measured)),
        "Plots": "\n\n".join(_picture(path) for path in paths if path.endswith(".png")),
        "Training": _listing(facts["training"]),
        "Starting weights": _starting(facts, paths),
        "Licence": f"{facts['license']}; the data set, {data}, has its own.",
        "Intended use": f"Photos like those of {data}, in demonstrations and teaching. It was not "
        "tested for anything that a wrong answer could harm.",
        "Limits": _limits(card, data),
    }
    texts = [f"## {title}\n\n{text}" for title, text in sections.items() if text]
    body = "\n\n".join([f"# {card.name}", _summary(card), *texts])
    return str(ModelCard(f"---\n{metadata.to_yaml()}\n---\n\n{body}\n"))


def _picture(path: str) -> str:
    """A picture in Markdown, whatever characters its name has."""
    text = re.sub(r"([\\\[\]])", r"\\\1", path)
    return f"![{text}]({quote(path)})"


def _slug(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")


def measurements(metrics: Mapping[str, Mapping[str, Any]]) -> Iterator[Measurement]:
    """What a card's metrics say, whatever figures they hold."""
    for name, entry in metrics.items():
        facts = {key: entry[key] for key in ("pictures", "size", "command") if key in entry}
        rest = {key: value for key, value in entry.items() if key not in facts}
        figures, groups = _numbers(rest)
        split = entry.get("split") or name.partition(",")[0]
        yield Measurement(name, split, facts, figures, groups)


def _numbers(
    entry: Mapping[str, Any], place: str = ""
) -> tuple[dict[str, float], dict[str, dict[str, float]]]:
    """Numbers at all depths by the names on the way there, and apart from them large groups."""
    figures: dict[str, float] = {}
    groups: dict[str, dict[str, float]] = {}
    for key, value in entry.items():
        name = place + key.replace("_", " ")
        if isinstance(value, int | float) and not isinstance(value, bool):
            figures[name] = value
        elif isinstance(value, Mapping):
            inner, larger = _numbers(value, f"{name}: ")
            groups |= larger
            if len(value) > FEW:
                groups[name] = {label.removeprefix(f"{name}: "): n for label, n in inner.items()}
            else:
                figures |= inner
    return figures, groups


def _summary(card: Card) -> str:
    labels = ", ".join(label.name for label in card.labels)
    meaning = card.facts["output"].get("meaning", "one number for each label")
    spec = card.input
    at_most = "up to " if spec.resize == "fit" else ""
    return (
        f"A network for {PIPELINES[card.task].replace('-', ' ')}: {card.facts['architecture']}, "
        f"{card.facts['parameters']:,} parameters, trained on {card.facts['training']['data']}. "
        f"`{card.name}.onnx` takes photos of {at_most}{spec.width} x {spec.height} pixels and "
        f"gives {meaning}; `{card.name}.json` says how to prepare a photo.\n\nLabels: {labels}."
    )


def _usage(name: str, repo: str, frameworks: Sequence[str], half_size: bool) -> str:
    loaded = ["half-size"] if half_size else frameworks[:1]
    blocks = [
        f"In Petscope, with ONNX Runtime:\n\n```sh\npython app.py --models {repo}\n```",
        *(_FRAMEWORK_USAGE[each].format(repo=repo) for each in loaded),
    ]
    if len(frameworks) > 1:
        places = ", ".join(f"`member-{number}/`" for number in range(2, len(frameworks) + 1))
        blocks.append(
            f"`{name}.onnx` averages {len(frameworks)} networks: the one at the root and those in "
            f"{places}, each with its own weights."
        )
    return "\n\n".join(blocks)


_FRAMEWORK_USAGE = {
    "timm": """With timm:

```python
import timm
model = timm.create_model("hf-hub:{repo}", pretrained=True).eval()
```""",
    "smp": """With segmentation-models-pytorch:

```python
import segmentation_models_pytorch as smp
model = smp.from_pretrained("{repo}").eval()
```""",
    "half-size": """With segmentation-models-pytorch, in a folder with Petscope's code, where its
`HalfSizeUnet` is defined:

```python
from training.half_size_unet import HalfSizeUnet
model = HalfSizeUnet.from_pretrained("{repo}", strict=True).eval()
```

Its logits have half the height and width of its input: enlarge them with
`torch.nn.functional.interpolate(logits, scale_factor=2, mode="bilinear")`.""",
    "keras": """With Keras:

```python
import huggingface_hub, keras
file = huggingface_hub.hf_hub_download("{repo}", "model.keras")
model = keras.models.load_model(file, compile=False)
```""",
}


def _results(measurement: Measurement) -> str:
    facts = measurement.facts
    size = facts.get("size")
    how = [
        f"{measurement.split} split",
        f"{facts['pictures']:,} pictures" if "pictures" in facts else "",
        f"{size} px" if isinstance(size, int) else str(size or ""),
        f"`{facts['command']}`" if "command" in facts else "",
    ]
    folded = [
        f"<details><summary>{title}</summary>\n\n{_table(group)}\n\n</details>"
        for title, group in measurement.groups.items()
    ]
    tables = [_table(measurement.figures)] if measurement.figures else []
    return "\n\n".join([f"### {measurement.name}", ", ".join(filter(None, how)), *tables, *folded])


def _table(figures: Mapping[str, float]) -> str:
    rows = [
        f"| {name} | {value:,} |" if isinstance(value, int) else f"| {name} | {value:.4f} |"
        for name, value in figures.items()
    ]
    return "\n".join(["| figure | value |", "|---|---|", *rows])


def _listing(facts: Mapping[str, Any]) -> str:
    return "\n".join(
        f"- {name.replace('_', ' ')}: {_fact(name, value)}" for name, value in facts.items()
    )


def _base_models(facts: Mapping[str, Any]) -> list[str] | None:
    """The Hub's repositories that the training started from."""
    starts = starting_weights.listed(facts)
    return [start["repository"] for start in starts if start and "repository" in start] or None


def _starting(facts: Mapping[str, Any], paths: Sequence[str]) -> str:
    told = [starting_weights.as_text(start) for start in starting_weights.listed(facts)]
    here = [f"`{path}`" for path in paths if path.startswith(f"{STARTING}/")]
    if here:
        told.append(f"In this repository: {', '.join(here)}.")
    return "\n\n".join(told)


def _fact(name: str, value: Any) -> str:  # noqa: ANN401
    if name == "command":
        return f"`{value}`"
    if name == "more":  # from `DataSet.more_facts`
        replaced = len(value["instead_of"])
        instead = f", {replaced} of them instead of the data set's own" if replaced else ""
        return f"{value['pictures']} corrected photos{instead}"
    return f"{value}"


def _limits(card: Card, data: str) -> str:
    limits = [
        f"- It sees photos at no more than {card.input.width} x {card.input.height} pixels.",
        f"- The figures hold for pictures like those of {data}; on others it can be worse.",
    ]
    if card.task == "classification":
        limits.append(
            f"- It knows {len(card.labels)} labels and always names one, also for pictures that "
            "show none of them."
        )
    return "\n".join(limits)
