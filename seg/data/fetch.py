"""Where a dataset's files come from, as its YAML says under `fetch`: an address, or Kaggle."""

from __future__ import annotations

import logging
import os
import shutil
import time
from http import HTTPStatus
from pathlib import Path, PurePosixPath
from urllib.parse import urlsplit

import pooch
import requests
from filelock import FileLock
from rich.filesize import decimal
from rich.progress import DownloadColumn, TransferSpeedColumn

from seg.contracts import SegError
from seg.data.progress import progress

TRIES = 4
PAUSE_S = 2.0
TIMEOUT_S = 30.0
CHUNK_BYTES = 2**16
BROKEN = (requests.ConnectionError, requests.Timeout, requests.exceptions.ChunkedEncodingError)
BY_HAND = "download it by hand and give dataset.source=PATH"

log = logging.getLogger(__name__)


def address(root: Path, url: str, md5: str) -> Path:
    """Download a file, going on where an earlier try broke off, unless it is there.

    Args:
        root: folder to download into, created if missing.
        url: http or https address, whose last part names the file.
        md5: checksum of the file, 32 hexadecimal digits.

    Returns:
        The file in `root`.

    Raises:
        SegError: no such address, a broken connection, too little room, or another checksum.
    """
    name = PurePosixPath(urlsplit(url).path).name or "download"
    part = root / f"{name}.part"

    def download(url: str, output_file: str, _: pooch.Pooch | None) -> None:
        _resume(url, part)
        part.replace(output_file)

    pooch.get_logger().setLevel(logging.WARNING)
    try:
        root.mkdir(parents=True, exist_ok=True)
        with FileLock(root / ".fetch.lock"):
            return Path(pooch.retrieve(url, f"md5:{md5}", name, root, downloader=download))
    except ValueError as error:
        said = str(error).split(". ")[0]
        raise SegError(
            f"{url}: {said}; what came was removed: run the same command again, or correct "
            "dataset.fetch.md5"
        ) from error
    except OSError as error:
        raise SegError(f"{root}: {error}; mend that or choose another paths.data=PATH") from error


def kaggle(root: Path, handle: str) -> Path:
    """Download a dataset of kaggle.com with the package kagglehub, unless it is there.

    Args:
        root: folder to download into, created if missing.
        handle: OWNER/NAME, or OWNER/NAME/versions/N to have the same files for ever.

    Returns:
        The folder with the dataset's files: below `root`, except in Kaggle's own notebooks.

    Raises:
        SegError: kagglehub is not installed, or cannot get the dataset.
    """
    page = f"https://www.kaggle.com/datasets/{handle}"
    try:
        import kagglehub
    except ImportError as error:
        raise SegError(
            f"{page}: needs kagglehub; run pip install kagglehub, or {BY_HAND}"
        ) from error
    logging.getLogger("kagglehub").setLevel(logging.WARNING)
    before = os.environ.get("KAGGLEHUB_CACHE")
    # Its output_dir refuses to go on with a download that broke off; its cache does.
    os.environ["KAGGLEHUB_CACHE"] = str(root)
    try:
        return Path(kagglehub.dataset_download(handle))
    except Exception as error:  # its own errors have no other common ancestor
        raise SegError(
            f"{page}: {_cause(error)}; check dataset.fetch.handle, or {BY_HAND}"
        ) from error
    finally:
        if before is None:
            del os.environ["KAGGLEHUB_CACHE"]
        else:
            os.environ["KAGGLEHUB_CACHE"] = before


def _resume(url: str, part: Path) -> None:
    """Complete `part`, going on after a broken connection a few times."""
    for left in reversed(range(TRIES)):
        try:
            return _stream(url, part)
        except BROKEN as error:
            cause = _cause(error)
        except requests.RequestException as error:
            raise SegError(
                f"{url}: {_cause(error)}; check dataset.fetch.url, or {BY_HAND}"
            ) from error
        if left:
            log.warning("%s: %s; trying again", url, cause)
            time.sleep(PAUSE_S)
    raise SegError(
        f"{url}: {cause} ({TRIES} tries); run the same command again to go on from the "
        f"{_size(part)} bytes that are there, or {BY_HAND}"
    )


def _stream(url: str, part: Path) -> None:
    """Append what `part` lacks of the file; start over where the server cannot go on."""
    there = _size(part)
    headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={there}-"} if there else {})
    with requests.get(url, headers=headers, stream=True, timeout=TIMEOUT_S) as response:
        if there and response.status_code == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
            part.unlink()
            return _stream(url, part)
        response.raise_for_status()
        if response.status_code != HTTPStatus.PARTIAL_CONTENT:
            part.unlink(missing_ok=True)
            there = 0
        missing = response.raw.length_remaining or 0
        free = shutil.disk_usage(part.parent).free
        if missing > free:
            raise SegError(
                f"{url}: needs {decimal(missing)}, but {part.parent} has only {decimal(free)} "
                "free; make room there or choose another paths.data=PATH"
            )
        log.info("downloading %s: %s, %s there", url, decimal(there + missing), decimal(there))
        with part.open("ab") as file, progress(DownloadColumn(), TransferSpeedColumn()) as bar:
            task = bar.add_task("downloading", total=there + missing or None, completed=there)
            for chunk in response.iter_content(CHUNK_BYTES):
                file.write(chunk)
                bar.advance(task, len(chunk))


def _size(part: Path) -> int:
    return part.stat().st_size if part.exists() else 0


def _cause(error: BaseException) -> str:
    """Return what was at the bottom of a chain of errors, on one line."""
    while error.__context__ is not None:
        error = error.__context__
    return (str(error).splitlines() or [type(error).__name__])[0].split(" for url")[0]
