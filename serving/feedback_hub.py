"""Photos that visitors sent, in a data set of the Hugging Face Hub.

The data set alone says what was kept: each upload adds to its list as it is then, and what was
uploaded is deleted on this machine. So what the owner deletes on the Hub stays deleted, and several
apps may write into one data set.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import TimeoutError
from pathlib import Path
from tempfile import TemporaryDirectory

from huggingface_hub import (
    CommitInfo,
    CommitOperationAdd,
    CommitOperationDelete,
    CommitScheduler,
    HfApi,
)
from huggingface_hub.errors import HfHubHTTPError, RemoteEntryNotFoundError

from models import hub, pet_folders
from models.pet_folders import Entry
from serving import log
from serving.settings import CannotStart

EVERY = 5.0  # minutes between two uploads
AT_ONCE = 100  # photos of an upload
TRIES = 5  # of a change, while others change the data set too
LAST = 30.0  # seconds for the last upload
CHANGED = 412  # HTTP status: somebody else was faster
LIST = pet_folders.LIST.as_posix()

Change = CommitOperationAdd | CommitOperationDelete


class Uploader(CommitScheduler):
    """Uploads the photos of a folder every few minutes, and deletes them there.

    A data set that does not exist is made, and is private until its owner publishes it.

    Raises
    ------
    CannotStart
        If the Hub does not allow that.
    """

    def __init__(self, folder: Path, data_set: str) -> None:
        try:
            super().__init__(
                repo_id=data_set, repo_type="dataset", folder_path=folder, every=EVERY, private=True
            )
        except Exception as error:  # of the network, the Hub, or its library
            raise CannotStart(_sentence(data_set, error)) from None

    def push_to_hub(self) -> CommitInfo | None:
        """Upload what waits; called by the scheduler, one at a time."""
        waiting = pet_folders.entries(self.folder_path)[:AT_ONCE]
        if not waiting:
            return None
        added = _change(self.api, self.repo_id, lambda text: self._additions(text, waiting))
        pet_folders.remove(self.folder_path, waiting)
        log.write("feedback", uploaded=len(waiting))
        return added

    def _additions(self, text: str, waiting: Sequence[Entry]) -> tuple[str, list[Change]]:
        """The list with these photos, and the operations that add their files."""
        known = {entry.name for entry in pet_folders.parse(text)}
        lines = [entry.line for entry in waiting if entry.name not in known]
        files = [file for entry in waiting for file in entry.files]
        return text + "".join(lines), [
            CommitOperationAdd(file.as_posix(), self.folder_path / file) for file in files
        ]

    def close(self) -> None:
        """Upload what waits, and end."""
        try:
            self.trigger().result(LAST)
        except TimeoutError:
            log.write("feedback", failed="TimeoutError")
        except Exception as error:  # they stay in the folder
            log.write("feedback", failed=type(error).__name__)
        self.stop()


def entries(data_set: str) -> list[Entry]:
    """The photos of a data set.

    Raises
    ------
    CannotStart
        If the Hub does not answer, or access is not allowed.
    """
    api = HfApi()
    try:
        return pet_folders.parse(_list(api, data_set, _head(api, data_set)))
    except Exception as error:
        raise CannotStart(_sentence(data_set, error)) from None


def remove(data_set: str, removed: Sequence[Entry]) -> None:
    """Delete photos from a data set and from its history, which becomes one commit.

    Raises
    ------
    CannotStart
        If the Hub does not allow that.
    """
    api, names = HfApi(), {entry.name for entry in removed}
    files = {file.as_posix() for entry in removed for file in entry.files}
    deletions: list[Change] = [CommitOperationDelete(file) for file in sorted(files)]
    try:
        _change(api, data_set, lambda text: (pet_folders.without(text, names), deletions))
        api.super_squash_history(data_set, repo_type="dataset")
        large = [
            each
            for each in api.list_lfs_files(data_set, repo_type="dataset")
            if each.filename in files
        ]
        api.permanently_delete_lfs_files(data_set, large, repo_type="dataset")
    except Exception as error:
        raise CannotStart(_sentence(data_set, error)) from None


def _change(
    api: HfApi, data_set: str, plan: Callable[[str], tuple[str, list[Change]]]
) -> CommitInfo:
    """Commit a change of the list and of files, made for the data set as it is.

    Parameters
    ----------
    plan
        Makes the new text of the list from its old one, and the other operations.
    """
    for attempt in range(1, TRIES + 1):
        head = _head(api, data_set)
        text, changes = plan(_list(api, data_set, head))
        try:
            return api.create_commit(
                data_set,
                [*changes, CommitOperationAdd(LIST, text.encode())],
                commit_message="Photos that visitors corrected",
                repo_type="dataset",
                parent_commit=head,
            )
        except HfHubHTTPError as error:
            if hub.http_status(error) != CHANGED or attempt == TRIES:
                raise
    raise AssertionError  # the last attempt returns or raises


def _head(api: HfApi, data_set: str) -> str:
    """The data set's newest commit."""
    return str(api.repo_info(data_set, repo_type="dataset").sha)


def _list(api: HfApi, data_set: str, commit: str) -> str:
    """The text of the list, which ends with a whole line; that of an empty one if there is none."""
    with TemporaryDirectory() as folder:
        try:
            file = api.hf_hub_download(
                data_set, LIST, repo_type="dataset", revision=commit, local_dir=folder
            )
        except RemoteEntryNotFoundError:  # and not one of the network
            return pet_folders.HEADER
        text = Path(file).read_text()
    return text if text.endswith("\n") or not text else f"{text}\n"


def _sentence(data_set: str, error: Exception) -> str:
    """Why a data set cannot be used."""
    if 401 in map(hub.http_status, hub.causes(error)):
        reason = "log in with `hf auth login`, or set $HF_TOKEN, and see that it exists"
        return f"The Hub does not let you into the data set {data_set}: {reason}."
    return f"The data set {data_set} cannot be used: {hub.reason(error)}."
