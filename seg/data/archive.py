"""Unpacking of tar and zip archives from the net, whose maker is not trusted.

Every entry is checked before the first is written, and what is written appears under its final
name only when it is complete.
"""

from __future__ import annotations

import logging
import lzma
import re
import shutil
import stat
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from rich.filesize import decimal
from rich.progress import DownloadColumn

from seg.contracts import SegError
from seg.data.progress import progress

SUFFIXES = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".zip")
MAX_RATIO = 200
EXEMPT_BYTES = 100 * 10**6
JUNK = re.compile(r"(.*/)?(__MACOSX(/.*)?|\._[^/]*|\.DS_Store)")
ROOTED = re.compile("/|[A-Za-z]:")
LIBRARY_ERRORS = (tarfile.TarError, zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError)
STRAY_ERRORS = (ValueError, LookupError, ArithmeticError, NotImplementedError, OSError)
BY_HAND = "unpack it by hand and give dataset.source=FOLDER"
TRUSTED = f"if you trust it, {BY_HAND}"

log = logging.getLogger(__name__)


def is_archive(path: Path) -> bool:
    """Tell by its ending whether a file is one that `unpack` takes."""
    return path.name.lower().endswith(SUFFIXES)


def unpack(archive: Path, into: Path) -> Path:
    """Unpack a tar (plain, gzip, bzip2 or xz) or zip archive, without macOS's droppings.

    Args:
        archive: told apart by its content, not by its ending.
        into: folder to create; one that is there is complete from an earlier call and stays.

    Returns:
        `into`.

    Raises:
        SegError: the archive is damaged, none at all, unsafe, or larger than the disk.
    """
    if into.is_dir():
        return into
    with _explained(archive), progress(DownloadColumn()) as bar:
        into.parent.mkdir(parents=True, exist_ok=True)
        task = bar.add_task(f"checking {archive.name}", total=None)
        with _open(archive) as packed:
            entries = list(_affordable(archive, _entries(packed), into.parent))
            _refuse_unsafe(archive, entries)
            size = sum(entry.size for entry in entries)
            log.info("unpacking %s (%s) into %s", archive, decimal(size), into)
            bar.update(task, description=f"unpacking {archive.name}", total=size)
            with _appearing(into) as folder:
                for entry in entries:
                    if not JUNK.fullmatch(str(entry.path)):
                        packed.extract(entry.info, folder)
                    bar.advance(task, entry.size)
    return into


class _Entry(NamedTuple):
    """What the checks need to know of a member; `info` is what its archive extracts it by."""

    path: PurePosixPath
    size: int
    kind: str
    info: tarfile.TarInfo | zipfile.ZipInfo
    target: PurePosixPath = PurePosixPath()


def _open(archive: Path) -> tarfile.TarFile | zipfile.ZipFile:
    with archive.open("rb") as file:
        if file.read(4) == b"PK\3\4":
            return zipfile.ZipFile(archive)
    packed = tarfile.open(archive)
    packed.extraction_filter = tarfile.data_filter
    return packed


def _entries(packed: tarfile.TarFile | zipfile.ZipFile) -> Iterator[_Entry]:
    """Yield the members; each one of a tar before its content has been read over."""
    if isinstance(packed, zipfile.ZipFile):
        for info in packed.infolist():
            special = stat.S_IFMT(info.external_attr >> 16) not in (0, stat.S_IFREG, stat.S_IFDIR)
            kind = "encrypted" if info.flag_bits & 1 else "a link or device" if special else "file"
            yield _Entry(PurePosixPath(info.filename), info.file_size, kind, info)
        return
    for info in packed:
        kind = "symlink" if info.issym() else "hardlink" if info.islnk() else "a device or pipe"
        kind = "file" if info.isreg() else "folder" if info.isdir() else kind
        yield _Entry(PurePosixPath(info.name), info.size, kind, info, PurePosixPath(info.linkname))
    # tarfile takes an unreadable header for the end, and gzip's checksum comes last of all.
    packed.fileobj.seek(packed.offset)
    if packed.fileobj.read(tarfile.BLOCKSIZE) != tarfile.NUL * tarfile.BLOCKSIZE:
        raise tarfile.ReadError("unreadable header")
    while packed.fileobj.read(2**20):
        pass


def _affordable(archive: Path, entries: Iterator[_Entry], folder: Path) -> Iterator[_Entry]:
    """Pass the entries on, up to the one that makes them larger than is free or plausible."""
    total, packed_size, free = 0, archive.stat().st_size, shutil.disk_usage(folder).free
    for entry in entries:
        if entry.size < 0:
            raise tarfile.ReadError("negative size")
        total += entry.size
        if total > free:
            raise SegError(
                f"{archive}: unpacks to {decimal(total)} or more, but {folder} has only "
                f"{decimal(free)} free; make room there"
            )
        if total > max(EXEMPT_BYTES, MAX_RATIO * packed_size):
            raise SegError(
                f"{archive}: refused: unpacks to {decimal(total)} or more, "
                f"{total // packed_size} times its size; {TRUSTED}"
            )
        yield entry


def _refuse_unsafe(archive: Path, entries: list[_Entry]) -> None:
    links = {entry.path for entry in entries if entry.kind == "symlink"}
    files: set[PurePosixPath] = set()
    for entry in entries:
        if reason := _reason(entry, links, files):
            raise SegError(f"{archive}: refused: {str(entry.path)!r} {reason}; {TRUSTED}")
        if entry.kind in ("file", "hardlink"):
            files |= {entry.path} - links


def _reason(entry: _Entry, links: set[PurePosixPath], files: set[PurePosixPath]) -> str:
    """Return why an entry is unsafe, given all symlinks and the files before it, or nothing.

    A symlink may only climb first, over folders that are no links, and then descend: whatever the
    order in which links are made, each then ends inside.
    """
    path, target, climbs = entry.path, entry.target, entry.target.parts.count("..")
    outside = climbs >= len(path.parts) or ".." in target.parts[climbs:]
    if ROOTED.match(str(path)):
        return "is an absolute path"
    if ".." in path.parts or "\\" in str(path):
        return "has '..' or a backslash in its path"
    if entry.kind not in ("file", "folder", "symlink", "hardlink"):
        return f"is {entry.kind}"
    if not links.isdisjoint(path.parents):
        return "lies under a link"
    if entry.kind == "symlink" and (ROOTED.match(str(target)) or outside):
        return f"is a link to {str(target)!r}, which may lie outside"
    if entry.kind == "hardlink" and target not in files:
        return f"is a hard link to {str(target)!r}, which is no file before it"
    return ""


@contextmanager
def _appearing(folder: Path) -> Iterator[Path]:
    """Give a folder aside that becomes `folder` at the end, and vanishes if that is not reached."""
    with tempfile.TemporaryDirectory(prefix=f".{folder.name}-", dir=folder.parent) as aside:
        inner = Path(aside) / "unpacked"
        inner.mkdir()
        yield inner
        if not folder.is_dir():
            inner.rename(folder)


@contextmanager
def _explained(archive: Path) -> Iterator[None]:
    """Turn what the libraries raise over an archive into a SegError."""
    try:
        yield
    except (*LIBRARY_ERRORS, *STRAY_ERRORS) as error:
        said = (str(error).splitlines() or [type(error).__name__])[0].rstrip(":")
        if isinstance(error, NotImplementedError) or getattr(error, "errno", None):
            raise SegError(f"{archive}: not unpacked ({said}); mend that, or {BY_HAND}") from error
        raise SegError(
            f"{archive}: damaged, or neither tar nor zip ({decimal(archive.stat().st_size)}, "
            f"{said}); download it again"
        ) from error
