"""Archives of data sets: download them, resuming where an attempt stopped, and extract safely."""

import gzip
import hashlib
import http.client
import shutil
import tarfile
import time
import urllib.error
import urllib.request
import zipfile
import zlib
from pathlib import Path
from typing import IO, cast

from tqdm import tqdm

from training.errors import UserError

ANSWER_TIMEOUT = 6.0  # seconds without a byte after which an attempt ends
PATIENCE = 6.0  # seconds without a byte after which there are no more attempts


class DataError(UserError):
    """The data set is not available, or not as expected; the message says what to do."""


def download(url: str, target: Path, md5: str | None = None, attempts: int = 5) -> None:
    """Download `url` to `target`, resuming where an earlier attempt stopped, and check its MD5.

    Without an MD5, a file that exists is taken to be complete.

    Raises
    ------
    DataError
        If all attempts fail, or the complete file has the wrong checksum (it is then deleted).
    """
    if target.exists() and md5 in (None, file_md5(target)):
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(target.name + ".part")
    since, had = time.monotonic(), _size(part)
    for attempt in range(1, attempts + 1):
        try:
            _download_rest(url, part)
            break
        except (OSError, http.client.HTTPException) as error:  # a URLError is an OSError
            permanent = isinstance(error, urllib.error.HTTPError) and error.code in (401, 403, 404)
            away = _size(part) == had and time.monotonic() > since + PATIENCE
            if permanent or away or attempt == attempts:
                reason = str(getattr(error, "reason", "") or error).rstrip(".")
                if isinstance(error, urllib.error.HTTPError):
                    reason = f"the server answers {error.code} {reason}"
                raise DataError(
                    f"{url} cannot be downloaded: {reason}. --source FOLDER takes it from a folder."
                ) from error
            time.sleep(min(2**attempt, 30) / 4)
    if md5 is not None and file_md5(part) != md5:
        part.unlink()
        raise DataError(f"{url} arrived damaged (wrong MD5): run the command again.")
    part.replace(target)


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _download_rest(url: str, part: Path) -> None:
    """Append the rest of `url` to `part`."""
    have = part.stat().st_size if part.exists() else 0
    headers = {"Range": f"bytes={have}-"} if have else {}
    request = urllib.request.Request(url, headers=headers)  # noqa: S310  # `prepare` checks it
    try:
        response = urllib.request.urlopen(request, timeout=ANSWER_TIMEOUT)  # noqa: S310
    except urllib.error.HTTPError as error:
        if error.code == 416 and have:  # nothing is left to send: the part is complete
            return
        raise
    with response:
        resumed = response.status == 206
        length = response.headers.get("Content-Length")
        total = int(length) + (have if resumed else 0) if length else None
        with (
            part.open("ab" if resumed else "wb") as file,
            tqdm(
                total=total,
                initial=have if resumed else 0,
                unit="B",
                unit_scale=True,
                desc=part.name.removesuffix(".part"),
            ) as bar,
        ):
            while chunk := response.read(1 << 20):
                file.write(chunk)
                bar.update(len(chunk))
    if total is not None and part.stat().st_size < total:
        raise OSError("the connection was cut")


def file_md5(path: Path) -> str:
    """MD5 of a file as hexadecimal digits; it guards against damage, not against forgery."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


def extract(archive: Path, root: Path) -> None:
    """Extract a `.tar.gz` or `.zip` of plain files; refuse anything that leaves `root`.

    Raises
    ------
    DataError
        For absolute or parent paths, links and devices, and damaged archives.
    """
    root = root.resolve()
    root.mkdir(parents=True, exist_ok=True)
    unpack = _extract_zip if archive.suffix == ".zip" else _extract_tar
    try:
        unpack(archive, root)
    except (
        *(tarfile.TarError, zipfile.BadZipFile, zlib.error, EOFError, OSError, ValueError),
    ) as error:
        raise DataError(f"{archive} cannot be extracted: {error}.") from error


def _extract_tar(archive: Path, root: Path) -> None:
    size = archive.stat().st_size  # the share read so far predicts the time left
    with (
        archive.open("rb") as file,
        tqdm.wrapattr(file, "read", total=size, desc=f"extracting {archive.name}") as counted,
        gzip.open(cast(IO[bytes], counted)) as content,
        tarfile.open(fileobj=content, mode="r|") as tar,
    ):
        for member in tar:
            target = _target(archive, root, member.name)
            if not (member.isfile() or member.isdir()):
                raise DataError(f"{archive} holds {member.name!r}, which is refused.")
            packed = tar.extractfile(member)
            if packed is None:
                target.mkdir(parents=True, exist_ok=True)
                continue
            target.parent.mkdir(parents=True, exist_ok=True)
            with packed, target.open("wb") as copy:
                shutil.copyfileobj(packed, copy)
        # At a damaged header, tarfile stops as if the archive ended there. Reading the rest checks
        # the checksum at the end of the compressed file.
        while content.read(1 << 20):
            pass


def _extract_zip(archive: Path, root: Path) -> None:
    with zipfile.ZipFile(archive) as content:
        for member in tqdm(content.infolist(), unit=" files", desc=f"extracting {archive.name}"):
            _target(archive, root, member.filename)
            content.extract(member, root)


def _target(archive: Path, root: Path, name: str) -> Path:
    target = (root / name).resolve()
    if not target.is_relative_to(root):
        raise DataError(f"{archive} holds {name!r}, which is refused.")
    return target
