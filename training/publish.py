"""Publish a model, or the whole app, on the Hugging Face Hub, each in one commit.

    python -m training.publish model breeds --repo OWNER/petscope-breeds --run runs/breeds
    python -m training.publish model flowers --repo OWNER/flowers --models runs/exported
    python -m training.publish model pet --repo OWNER/petscope-pet --run runs/unet --tag v1
    python -m training.publish model breeds --repo OWNER/breeds --starting-weights FILE
    python -m training.publish space --repo OWNER/petscope --models OWNER/breeds@v2,OWNER/pet

A model's repository holds `NAME.onnx`, its card `NAME.json`, the training runs' own weights,
history and plots, and a README made from the card. The first of several runs goes to the root, the
others to `member-2/`, `member-3/`, ...; files that these started from, to `starting-weights/`, so
that others can repeat the training. Nothing that runs code when it is opened is published.

A Space contains the app as Git tracks it, with its models; with `--models` instead those of the
given repositories, pinned to their commits and downloaded when the Space is built.

Log in with `hf auth login` first. `--dry-run` shows what would be uploaded, without a network.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from huggingface_hub import SpaceHardware
from huggingface_hub.errors import HTTPError

from models import hub, store
from training import command_line
from training.publishing.errors import PublishError
from training.publishing.files import Files, model_files, space_files
from training.publishing.hub import FREE, advice, check_name, publish_model, publish_space

LARGE = 10_000_000  # bytes; the Hub takes files from this size on only as large files


def show(files: Files) -> None:
    """Print all files with their sizes."""
    for path, content in sorted(files.items()):
        size = content.stat().st_size if isinstance(content, Path) else len(content)
        print(f"{size / 1000:12,.1f} kB  {path}" + ("  (large file)" if size >= LARGE else ""))


def parse_arguments(words: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = command_line.parser(__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    shape = command_line.HelpFormatter

    model = commands.add_parser(
        "model", help="a model and its training runs", formatter_class=shape
    )
    model.add_argument("name", help="name of the model: NAME.onnx and NAME.json")
    model.add_argument(
        "--run", type=Path, action="append", default=[], help="training run's folder; repeatable"
    )
    model.add_argument(
        "--starting-weights",
        type=Path,
        action="append",
        default=[],
        metavar="FILE",
        help="weights that a run started from, which the card names with their licence; repeatable",
    )
    model.add_argument("--models", type=Path, default=store.EMBEDDED, help="folder of the model")
    model.add_argument("--revision", help="branch to commit to, made where missing; default: main")
    model.add_argument("--tag", help="tag to give to the commit")

    space = commands.add_parser("space", help="the app", formatter_class=shape)
    space.add_argument(
        "--models",
        default="",
        help="OWNER/REPO[@REVISION],...: models to use instead of the embedded ones",
    )
    space.add_argument(
        "--hardware",
        choices=[each.value for each in SpaceHardware],
        metavar="NAME",
        help=f"to run on, one of the Hub's; default: {FREE.value} for a new Space, which costs "
        "nothing, and what it has for another",
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
    check_name(repo)
    sources: list[str] = []
    if arguments.command == "model":
        files = model_files(
            arguments.name, arguments.models, arguments.run, repo, arguments.starting_weights
        )
    else:
        sources = [name.strip() for name in arguments.models.split(",") if name.strip()]
        for name in sources:
            check_name(hub.split(name)[0])
        files = space_files(with_weights=not sources)
    show(files)
    if arguments.dry_run:
        return
    try:
        if arguments.command == "model":
            published = publish_model(
                files,
                repo,
                message=f"Publish {arguments.name}",
                revision=arguments.revision,
                tag=arguments.tag,
                private=arguments.private,
            )
        else:
            published = publish_space(
                files,
                repo,
                sources=sources,
                hardware=SpaceHardware(arguments.hardware) if arguments.hardware else None,
                private=arguments.private,
            )
    except (HTTPError, OSError, RuntimeError, ValueError) as error:
        raise PublishError(advice(error, repo)) from error
    print(f"Published {published}")


if __name__ == "__main__":
    command_line.run(main)
