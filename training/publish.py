"""Publish a model, or the whole app, on the Hugging Face Hub, each in one commit.

    python -m training.publish model breeds --repo OWNER/petscope-breeds --run runs/breeds
    python -m training.publish model pet --repo OWNER/petscope-pet --run runs/unet --tag v1
    python -m training.publish space --repo OWNER/petscope --models OWNER/breeds@v2,OWNER/pet

A model's repository holds `NAME.onnx`, its card `NAME.json`, the training runs' own weights,
history and plots, and a README made from the card. Of several runs the first lies at the root, the
others in `member-2/`, `member-3/`, ... Nothing that runs code when it is opened is published.

A Space holds the app as Git tracks it, with its models; with `--models` those of the repositories
named there, pinned to their commits and loaded when the Space is built, instead of its own.

Log in with `hf auth login` first. `--dry-run` shows what would go, and asks no network.
"""

import argparse
import json
import pickletools
import re
import subprocess
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from huggingface_hub import (
    CommitOperationAdd,
    CommitOperationDelete,
    EvalResult,
    HfApi,
    ModelCard,
    ModelCardData,
    RepoCard,
)
from huggingface_hub.errors import HFValidationError, HTTPError
from huggingface_hub.utils import validate_repo_id
from safetensors import SafetensorError, safe_open

from models import store
from training.runs import RunError, read_run

ROOT = Path(__file__).parent.parent
SPACE = (
    "LICENSE",
    "README.md",
    "app.py",
    "examples",
    "models",
    "requirements.txt",
    "serving",
    "ui",
)
WEIGHTS = "models/weights/"

# What a run of each framework leaves, and what the Hub calls the library that reads it.
RUN_WEIGHTS = {
    "timm": ("model.safetensors", "config.json"),
    "smp": ("model.safetensors", "config.json"),
    "keras": ("model.keras",),
}
LIBRARIES = {"timm": "timm", "smp": "segmentation-models-pytorch", "keras": "keras"}
PIPELINES = {"classification": "image-classification", "segmentation": "image-segmentation"}

PICKLE_SUFFIXES = {".pkl", ".pickle", ".pt", ".pth", ".bin", ".ckpt", ".joblib", ".dill"}
# The operations that import or call something.
PICKLE_CALLS = {"GLOBAL", "STACK_GLOBAL", "INST", "OBJ", "NEWOBJ", "NEWOBJ_EX", "REDUCE"}

LARGE = 10_000_000  # bytes; from here on the Hub takes a file as a large one only
FEW = 10  # figures of a group with more, such as those of single breeds, are folded

Files = dict[str, Path | bytes]  # by their path in the repository


class PublishError(Exception):
    """Why nothing was published and what to do, in one sentence."""


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


# What goes


def model_files(name: str, folder: Path, runs: Sequence[Path], repo: str) -> Files:
    """All files of a model's repository.

    Raises
    ------
    PublishError
        When one is missing, or could run code.
    models.store.ModelError
        When card and network do not belong together, or the network cannot be run.
    training.runs.RunError
        When a folder is no finished run.
    """
    card = store.read_card(name, folder)
    store.load(name, card.task, folder)
    files: Files = {
        f"{name}.onnx": folder / f"{name}.onnx",
        f"{name}.json": folder / f"{name}.json",
    }
    frameworks = []
    for number, run in enumerate(runs, start=1):
        framework, weights = run_files(run)
        frameworks.append(framework)
        place = "" if number == 1 else f"member-{number}/"
        files |= {f"{place}{path.name}": path for path in weights}
    refuse_code(files)
    try:
        readme = model_readme(card, repo, frameworks, sorted(files))
    except KeyError as error:
        raise PublishError(f"The card {name}.json does not say its {error}.") from error
    return {**files, "README.md": readme.encode()}


def run_files(run: Path) -> tuple[str, list[Path]]:
    """Framework of a training run, and its files to publish.

    Raises
    ------
    PublishError
        When its weights are missing, or of a kind that is not published.
    training.runs.RunError
        When it is no finished run.
    """
    framework = read_run(run)["framework"]
    if framework not in RUN_WEIGHTS:
        raise PublishError(f"{run} is a run of {framework}, whose weights are not published.")
    weights = [run / name for name in RUN_WEIGHTS[framework]]
    for path in weights:
        if not path.is_file():
            raise PublishError(f"The training run {run} has no {path.name}.")
    history = run / "history.csv"
    extras = [*([history] if history.is_file() else []), *sorted(run.glob("*.png"))]
    return framework, [*weights, *extras]


def space_files(with_weights: bool) -> Files:
    """The app's files that Git tracks, as they are in the working tree.

    Raises
    ------
    PublishError
        When this is no Git repository, or a needed file is missing or could run code.
    models.store.ModelError
        When a card and a network do not belong together.
    """
    try:
        listing = subprocess.run(  # noqa: S603
            ["git", "ls-files", "-z", "--", *SPACE],  # noqa: S607
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=True,
        ).stdout
    except (OSError, subprocess.CalledProcessError) as error:
        raise PublishError(f"What Git tracks in {ROOT} cannot be listed ({error}).") from error
    files: Files = {path: ROOT / path for path in listing.split("\0") if (ROOT / path).is_file()}
    for name in SPACE:
        if not any(path == name or path.startswith(f"{name}/") for path in files):
            raise PublishError(f"A Space needs {name}, which Git does not track here.")
    if with_weights:
        for name in store.names(folder=ROOT / WEIGHTS):
            store.read_network(store.read_card(name, ROOT / WEIGHTS), ROOT / WEIGHTS)
    else:
        files = {path: file for path, file in files.items() if not path.startswith(WEIGHTS)}
    refuse_code(files)
    return files


# What does not go


def refuse_code(files: Files) -> None:
    """Stop when opening one of the files could run code that it brings along.

    Raises
    ------
    PublishError
        For a pickle, by name or content, and for a Keras model with code in it.
    """
    for name, content in files.items():
        if isinstance(content, Path) and (found := _code_in(content)):
            raise PublishError(f"{content} {found}, so it is not published as {name}.")


def _code_in(path: Path) -> str | None:
    """What could run code when the file is opened, as a part of a sentence."""
    if path.suffix in PICKLE_SUFFIXES:
        return "is a pickle by its name"
    if path.suffix == ".safetensors":
        try:
            with safe_open(path, "numpy"):
                return None
        except SafetensorError:
            return "is no safetensors file"
    if path.suffix == ".npy":
        try:
            np.load(path, allow_pickle=False)
        except ValueError:
            return "holds pickled objects"
    if path.suffix == ".keras" or zipfile.is_zipfile(path):
        return _code_in_archive(path)
    return "is a pickle by its content" if _is_pickle(path) else None


def _code_in_archive(path: Path) -> str | None:
    try:
        with zipfile.ZipFile(path) as archive:
            if any(Path(member).suffix in PICKLE_SUFFIXES for member in archive.namelist()):
                return "is an archive with a pickle in it"
            if path.suffix == ".keras" and _has_lambda(json.loads(archive.read("config.json"))):
                return "is a Keras model with a Lambda layer"
    except (KeyError, ValueError, zipfile.BadZipFile):
        return "is no whole archive"
    return None


def _is_pickle(path: Path) -> bool:
    """Whether a file begins as a pickle does: with its protocol, or all of it in old text form."""
    operations = []
    try:
        with path.open("rb") as file:
            for operation, _, _ in pickletools.genops(file):
                operations.append(operation.name)
    except (ValueError, MemoryError):  # no pickle, or other bytes follow within
        return operations[:1] == ["PROTO"] and len(operations) > 1
    return operations[0] == "PROTO" or not PICKLE_CALLS.isdisjoint(operations)


def _has_lambda(config: object) -> bool:
    if isinstance(config, dict):
        return config.get("class_name") in ("Lambda", "__lambda__") or _has_lambda(
            list(config.values())
        )
    return isinstance(config, list) and any(map(_has_lambda, config))


# The README of a model


def model_readme(
    card: store.Card, repo: str, frameworks: Sequence[str], paths: Sequence[str]
) -> str:
    """The README of a model's repository: the Hub's metadata, and a page for people.

    All figures come from the card.

    Parameters
    ----------
    frameworks
        Of the training runs whose weights lie beside the ONNX file, in their order.
    paths
        Of the other files in the repository.
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
        datasets=[slug],
        base_model=facts.get("base_model"),
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
            for figure, value in measurement.figures.items()
        ]
        or None,
    )
    sections = {
        "Use": _usage(card.name, repo, frameworks),
        "Results": "\n\n".join(map(_results, measured)),
        "Plots": "\n\n".join(f"![{path}]({path})" for path in paths if path.endswith(".png")),
        "Training": _listing(facts["training"]),
        "Licence": f"{facts['license']}; the data set, {data}, has its own.",
        "Intended use": f"Photos like those of {data}, in demonstrations and teaching. It was not "
        "tested for anything that a wrong answer could harm.",
        "Limits": _limits(card, data),
    }
    texts = [f"## {title}\n\n{text}" for title, text in sections.items() if text]
    body = "\n\n".join([f"# {card.name}", _summary(card), *texts])
    return str(ModelCard(f"---\n{metadata.to_yaml()}\n---\n\n{body}\n"))


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


def _summary(card: store.Card) -> str:
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


def _usage(name: str, repo: str, frameworks: Sequence[str]) -> str:
    blocks = [
        f"In Petscope, with ONNX Runtime:\n\n```sh\npython app.py --models {repo}\n```",
        *(_FRAMEWORK_USAGE[framework].format(repo=repo) for framework in frameworks[:1]),
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
        f"- {name.replace('_', ' ')}: " + (f"`{value}`" if name == "command" else f"{value}")
        for name, value in facts.items()
    )


def _limits(card: store.Card, data: str) -> str:
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


# Where it goes


def publish_model(files: Files, arguments: argparse.Namespace) -> str:
    """Create or update a model's repository; return `OWNER/REPO@COMMIT`."""
    api, repo = HfApi(), arguments.repo
    api.create_repo(repo, private=arguments.private or None, exist_ok=True)
    if arguments.revision:
        api.create_branch(repo, branch=arguments.revision, exist_ok=True)
    commit = api.create_commit(
        repo,
        _additions(files),
        commit_message=f"Publish {arguments.name}",
        revision=arguments.revision,
    )
    if arguments.tag:
        api.create_tag(repo, tag=arguments.tag, revision=commit.oid)
    return f"{repo}@{commit.oid}"


def publish_space(files: Files, sources: Sequence[str], arguments: argparse.Namespace) -> str:
    """Create or update a Space; return `OWNER/REPO@COMMIT`.

    Parameters
    ----------
    sources
        Repositories to load models from, `OWNER/REPO[@REVISION]`, when the files hold none.

    Raises
    ------
    PublishError
        When the repositories lack a model that the app has of its own.
    """
    api, repo = HfApi(), arguments.repo
    pinned = [pin(api, name) for name in sources]
    if pinned:
        needed = set(store.names(folder=ROOT / WEIGHTS))
        if missing := needed - {name for model in pinned for name in model.names}:
            raise PublishError(
                f"The app needs {' and '.join(sorted(missing))} too, which {' and '.join(sources)} "
                "lacks: name a further repository after a comma."
            )
        readme = (ROOT / "README.md").read_text()
        files = {**files, "README.md": space_readme(readme, pinned).encode()}
    api.create_repo(
        repo,
        repo_type="space",
        space_sdk="gradio",
        private=arguments.private or None,
        exist_ok=True,
    )
    # Before the commit: the Space is built at once, and then must know where its models are.
    if pinned:
        value = ",".join(f"{model.repo}@{model.commit}" for model in pinned)
        api.add_space_variable(repo, store.SOURCE_VARIABLE, value)
    stale = [
        path
        for path in api.list_repo_files(repo, repo_type="space")
        if path.partition("/")[0] in SPACE and path not in files
    ]
    commit = api.create_commit(
        repo,
        [*_additions(files), *(CommitOperationDelete(path) for path in stale)],
        commit_message="Publish the app",
        repo_type="space",
    )
    return f"{repo}@{commit.oid}"


def _additions(files: Files) -> list[CommitOperationAdd]:
    return [CommitOperationAdd(path, content) for path, content in files.items()]


@dataclass(frozen=True)
class Pinned:
    """A repository's models at one commit."""

    repo: str
    commit: str
    names: tuple[str, ...]


def pin(api: HfApi, name: str) -> Pinned:
    """Look up which commit `OWNER/REPO@REVISION` is at, and which models it has."""
    repo, revision = store.split(name)
    info = api.model_info(repo, revision=revision)
    files = {sibling.rfilename for sibling in info.siblings}
    cards = (path.removesuffix(".json") for path in sorted(files) if path.endswith(".json"))
    return Pinned(repo, info.sha, tuple(card for card in cards if f"{card}.onnx" in files))


def space_readme(readme: str, pinned: Sequence[Pinned]) -> str:
    """The app's README with the models that a Space loads when it is built.

    An entry is "repository file,file commit": "Spaces configuration reference" in the Hub's
    documentation.
    """
    card = RepoCard(readme)
    card.data["models"] = [*card.data.get("models", []), *(model.repo for model in pinned)]
    card.data["preload_from_hub"] = [
        " ".join(
            [
                model.repo,
                ",".join(
                    f"{name}{suffix}" for name in model.names for suffix in (".json", ".onnx")
                ),
                model.commit,
            ]
        )
        for model in pinned
    ]
    return str(card)


def advice(error: Exception, repo: str) -> str:
    """What went wrong between here and the Hub and what to do, in one sentence."""
    status = store.http_status(error)
    wanted = getattr(error, "repo_id", None) or "such owner or repository"
    known = {
        401: "the Hub does not know you; log in with `hf auth login` and run this again",
        403: "your login may not write there; `hf auth login` with a token that may, and run this "
        "again",
        404: f"the Hub has no {wanted}, or not that revision; check the names and run this again",
        429: "the Hub has too many requests at the moment; wait some minutes and run this again",
    }
    if status in known:
        reason = known[status]
    elif status and status >= 500:
        reason = f"the Hub answers with error {status}; wait a little and run this again"
    elif status:
        said = getattr(error, "server_message", None) or "it does not say why"
        reason = f"the Hub refuses it with error {status}: {' '.join(said.split()).rstrip('.')}"
    elif any(isinstance(cause, HTTPError) for cause in store.causes(error)):
        reason = "the Hub cannot be reached, or the connection was cut; run this again"
    else:
        reason = " ".join(str(error).split()).rstrip(".") or type(error).__name__
    return f"{repo} was not published: {reason}."


# The command line


def show(files: Files) -> None:
    """Print all files with their sizes."""
    for path, content in sorted(files.items()):
        size = content.stat().st_size if isinstance(content, Path) else len(content)
        print(f"{size / 1000:12,.1f} kB  {path}" + ("  (large file)" if size >= LARGE else ""))


def parse_arguments(words: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True)

    model = commands.add_parser("model", help="a model and its training runs")
    model.add_argument("name", help="name of the model: NAME.onnx and NAME.json")
    model.add_argument(
        "--run", type=Path, action="append", default=[], help="training run's folder; repeatable"
    )
    model.add_argument("--models", type=Path, default=store.EMBEDDED, help="folder of the model")
    model.add_argument("--revision", help="branch to commit to, made where missing; default: main")
    model.add_argument("--tag", help="tag to give to the commit")

    space = commands.add_parser("space", help="the app")
    space.add_argument(
        "--models",
        default="",
        help="OWNER/REPO[@REVISION],...: models to use instead of the embedded ones",
    )
    for command in (model, space):
        command.add_argument("--repo", required=True, help="OWNER/NAME on the Hub")
        command.add_argument("--private", action="store_true", help="when it is created now")
        command.add_argument("--dry-run", action="store_true", help="only show what would go")
    return parser.parse_args(words)


def main(words: Sequence[str] | None = None) -> None:
    """Publish what the command line names."""
    arguments = parse_arguments(words)
    repo = arguments.repo
    try:
        _check_name(repo)
        if arguments.command == "model":
            files = model_files(arguments.name, arguments.models, arguments.run, repo)
        else:
            sources = [name.strip() for name in arguments.models.split(",") if name.strip()]
            for name in sources:
                _check_name(store.split(name)[0])
            files = space_files(with_weights=not sources)
        show(files)
        if arguments.dry_run:
            return
        try:
            if arguments.command == "model":
                published = publish_model(files, arguments)
            else:
                published = publish_space(files, sources, arguments)
        except (HTTPError, OSError, RuntimeError, ValueError) as error:
            raise PublishError(advice(error, repo)) from error
    except (PublishError, RunError, store.ModelError) as error:
        raise SystemExit(str(error)) from error
    print(f"Published {published}")


def _check_name(repo: str) -> None:
    try:
        if repo.count("/") != 1:
            raise HFValidationError("it must be OWNER/NAME")
        validate_repo_id(repo)
    except HFValidationError as error:
        raise PublishError(f"{repo!r} is no name of a repository: {error}.") from error


if __name__ == "__main__":
    main()
