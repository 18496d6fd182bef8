"""Files on their way to the Hub, each repository in one commit; and what can go wrong there."""

from collections.abc import Sequence
from dataclasses import dataclass

from huggingface_hub import (
    CommitOperationAdd,
    CommitOperationDelete,
    HfApi,
    RepoCard,
    SpaceHardware,
)
from huggingface_hub.errors import HFValidationError, HTTPError
from huggingface_hub.utils import validate_repo_id

from models import hub, store
from models.errors import one_line
from training.publishing import files as publishing_files
from training.publishing.errors import PublishError
from training.publishing.files import SPACE, WEIGHTS, Files

FREE = SpaceHardware.ZERO_A10G  # the only hardware of a Gradio Space without a paid plan


def publish_model(
    files: Files,
    repo: str,
    *,
    message: str,
    revision: str | None = None,
    tag: str | None = None,
    private: bool = False,
) -> str:
    """Create or update a model's repository; return `OWNER/REPO@COMMIT`.

    Parameters
    ----------
    files
        As `training.publishing.files.model_files` gives them.
    repo
        `OWNER/NAME` on the Hub.
    message
        What the commit says.
    revision
        Branch to commit to, made where it is missing; the main one by default.
    tag
        To give to the commit.
    private
        Whether the repository is to be private when it is created now.
    """
    api = HfApi()
    api.create_repo(repo, private=private or None, exist_ok=True)
    if revision:
        api.create_branch(repo, branch=revision, exist_ok=True)
    commit = api.create_commit(repo, _additions(files), commit_message=message, revision=revision)
    if tag:
        api.create_tag(repo, tag=tag, revision=commit.oid)
    return f"{repo}@{commit.oid}"


def publish_space(
    files: Files,
    repo: str,
    *,
    sources: Sequence[str] = (),
    hardware: SpaceHardware | None = None,
    private: bool = False,
) -> str:
    """Create or update a Space; return `OWNER/REPO@COMMIT`.

    Parameters
    ----------
    files
        As `training.publishing.files.space_files` gives them.
    repo
        `OWNER/NAME` on the Hub.
    sources
        Repositories to load models from, `OWNER/REPO[@REVISION]`, when the files hold none.
    hardware
        What the Space is to run on; by default `FREE` when it is created now, else what it has.
    private
        Whether the Space is to be private when it is created now.

    Raises
    ------
    PublishError
        When the repositories lack a model that the app has of its own.
    """
    api = HfApi()
    pinned = [pin(api, name) for name in sources]
    if pinned:
        needed = set(store.names(folder=publishing_files.ROOT / WEIGHTS))
        if missing := needed - {name for model in pinned for name in model.names}:
            raise PublishError(
                f"The app needs {' and '.join(sorted(missing))} too, which {' and '.join(sources)} "
                "lacks: name a further repository after a comma."
            )
        readme = (publishing_files.ROOT / "README.md").read_text()
        files = {**files, "README.md": space_readme(readme, pinned).encode()}
    api.create_repo(
        repo,
        repo_type="space",
        space_sdk="gradio",
        space_hardware=hardware or FREE,
        private=private or None,
        exist_ok=True,
    )
    if hardware:  # of a Space that was there already
        api.request_space_hardware(repo, hardware)
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
    repo, revision = hub.split(name)
    info = api.model_info(repo, revision=revision)
    files = {sibling.rfilename for sibling in info.siblings or ()}
    cards = (path.removesuffix(".json") for path in sorted(files) if path.endswith(".json"))
    return Pinned(repo, str(info.sha), tuple(card for card in cards if f"{card}.onnx" in files))


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
    status = hub.http_status(error)
    wanted = getattr(error, "repo_id", None) or "such owner or repository"
    known = {
        401: "the Hub does not know you; log in with `hf auth login` and run this again",
        402: "the Hub has such hardware only with a paid plan; "
        f"`--hardware {FREE.value}` needs none",
        403: "your login may not write there; `hf auth login` with a token that may, and run this "
        "again",
        404: f"the Hub has no {wanted}, or not that revision; check the names and run this again",
        429: "the Hub has too many requests at the moment; wait a few minutes and run this again",
    }
    if status in known:
        reason = known[status]
    elif status and status >= 500:
        reason = f"the Hub answers with error {status}; wait a little and run this again"
    elif status:
        said = getattr(error, "server_message", None) or "it does not say why"
        reason = f"the Hub refuses it with error {status}: {' '.join(said.split()).rstrip('.')}"
    elif any(isinstance(cause, HTTPError) for cause in hub.causes(error)):
        reason = "the Hub cannot be reached, or the connection was cut; run this again"
    else:
        reason = one_line(error)
    return f"{repo} was not published: {reason}."


def check_name(repo: str) -> None:
    """Make sure that a repository can have a name.

    Raises
    ------
    PublishError
        When it can not.
    """
    try:
        if repo.count("/") != 1:
            raise HFValidationError("it must be OWNER/NAME")
        validate_repo_id(repo)
    except HFValidationError as error:
        reason = str(error).rstrip(".")
        raise PublishError(f"{repo!r} is not the name of a repository: {reason}.") from error
