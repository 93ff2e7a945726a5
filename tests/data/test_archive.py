"""Facts about `seg.data.archive`: what unpacks, what is refused, and what a crash leaves."""

import io
import os
import pty
import re
import signal
import stat
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from seg.contracts import SegError
from seg.data.archive import is_archive, unpack

FILES = {"top.txt": b"top", "d/a.txt": b"a" * 3000, "d/e/b.txt": b"b"}
PROGRAM = """
import os, signal as signals, sys
from pathlib import Path
from seg.data.archive import unpack
signals.signal(signals.SIGINT, signals.default_int_handler)  # a shell's background jobs ignore it
archive, into, signal, at = sys.argv[1:]
def strike(event, args):
    if event == "open" and str(args[0]).endswith(at) and str(args[0]) != archive:
        os.kill(os.getpid(), int(signal))
sys.addaudithook(strike)
unpack(Path(archive), Path(into))
"""


def tar(path, *members, mode="w"):
    """Write a tar of names with content, or (name, type, target) of links and devices."""
    with tarfile.open(path, mode) as packed:
        for name, *what in members:
            info = tarfile.TarInfo(name)
            if isinstance(what[0], int):
                info.size = what[0]
                packed.fileobj.write(info.tobuf())
            elif what[0] in (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE):
                info.type, info.linkname = what[0], what[1] if len(what) > 1 else ""
                packed.addfile(info)
            else:
                info.size = len(what[0])
                packed.addfile(info, io.BytesIO(what[0]))
    return path


def zipped(path, *members):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as packed:
        for name, content in members:
            packed.writestr(name, content)
    return path


def content(folder):
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def refusal(archive):
    """Unpack beside the archive, and return the error once it is sure that nothing was left."""
    before = sorted(archive.parents[1].rglob("*"))
    with pytest.raises(SegError) as caught:
        unpack(archive, archive.parent / "into")
    assert sorted(archive.parents[1].rglob("*")) == before
    assert str(caught.value).startswith(f"{archive}: ")
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.fixture
def box(tmp_path):
    """A folder in a folder, so that what climbs out of it can be seen."""
    (tmp_path / "box").mkdir()
    return tmp_path / "box"


@pytest.mark.parametrize(
    ("ending", "mode"),
    [
        (".tar", "w"),
        (".tar.gz", "w:gz"),
        (".tgz", "w:gz"),
        (".tar.bz2", "w:bz2"),
        (".tar.xz", "w:xz"),
        (".TAR.GZ", "w:gz"),
    ],
)
def test_every_kind_of_tar_is_unpacked(box, ending, mode):
    archive = tar(box / f"a{ending}", *FILES.items(), mode=mode)
    assert is_archive(archive)
    assert unpack(archive, box / "new" / "into") == box / "new" / "into"
    assert content(box / "new" / "into") == FILES
    assert [path.name for path in (box / "new").iterdir()] == ["into"]


@pytest.mark.parametrize("name", ["a.zip", "a.ZIP", "a.tar"])
def test_a_zip_is_unpacked_by_its_content_not_by_its_ending(box, name):
    archive = zipped(box / name, *FILES.items())
    assert is_archive(archive)
    assert content(unpack(archive, box / "into")) == FILES


@pytest.mark.parametrize("name", ["a.nii.gz", "a.png", "tar", "zip", "a.rar", "a.tar.zip.png"])
def test_other_endings_are_no_archive(name):
    assert not is_archive(Path(name))


def test_what_is_there_is_complete_and_stays(box):
    (box / "into").mkdir()
    assert unpack(box / "no such archive", box / "into") == box / "into"
    assert content(box / "into") == {}


def test_the_droppings_of_macos_are_left_out(box):
    junk = ["__MACOSX/d/._a.txt", "d/._a.txt", ".DS_Store", "d/.DS_Store"]
    archive = zipped(box / "a.zip", *FILES.items(), *((name, b"x") for name in junk))
    assert content(unpack(archive, box / "into")) == FILES


def test_the_owner_may_read_and_write_what_was_unpacked(box):
    with tarfile.open(box / "a.tar", "w") as packed:
        folder = tarfile.TarInfo("d")
        folder.type, folder.mode = tarfile.DIRTYPE, 0
        file = tarfile.TarInfo("d/a.txt")
        file.mode = 0
        packed.addfile(folder)
        packed.addfile(file)
    into = unpack(box / "a.tar", box / "into")
    for path in (into, into / "d", into / "d" / "a.txt"):
        assert stat.S_IMODE(path.stat().st_mode) & 0o600 == 0o600
    assert stat.S_IMODE(into.stat().st_mode) & 0o100


def test_links_that_stay_inside_are_kept(box):
    archive = tar(
        box / "a.tar",
        ("top.txt", b"top"),
        ("d/e/up", tarfile.SYMTYPE, "../../top.txt"),
        ("down", tarfile.SYMTYPE, "d/e"),
        ("d/hard.txt", tarfile.LNKTYPE, "top.txt"),
        ("d/harder.txt", tarfile.LNKTYPE, "./d/hard.txt"),
    )
    into = unpack(archive, box / "into")
    assert {path.read_bytes() for path in into.rglob("*") if path.is_file()} == {b"top"}
    assert (into / "d" / "e" / "up").is_symlink()
    assert (into / "down" / "up").read_bytes() == b"top"
    assert (into / "d" / "harder.txt").samefile(into / "top.txt")


PATHS = ["/tmp/x", "../x", "d/../../x", "d/..", "C:/x", "C:x", "..\\x", "d\\x", "\\\\host\\x"]  # noqa: S108


@pytest.mark.parametrize("path", PATHS)
def test_a_path_that_leaves_is_refused(box, path):
    members = [("good.txt", b"x"), (path, b"x")]
    for archive in (tar(box / "a.tar", *members), zipped(box / "a.zip", *members)):
        assert f"refused: {path!r} " in refusal(archive)


@pytest.mark.parametrize(
    ("name", "target"),
    [
        ("l", "/etc/passwd"),
        ("l", ".."),
        ("l", "../x"),
        ("l", "C:/x"),
        ("d/l", "../../x"),
        ("d/l", "good/../../x"),
        ("d/e/l", "good/../x"),
        (".", "good"),
    ],
)
def test_a_symlink_that_may_point_out_is_refused(box, name, target):
    archive = tar(box / "a.tar", (name, tarfile.SYMTYPE, target))
    assert re.search(r"refused: '.+' is a link to '.+', which may lie outside", refusal(archive))


@pytest.mark.parametrize(
    "second",
    [("x/y/up/z/w/out", tarfile.SYMTYPE, "../../.."), ("x/y/up/top.txt", b"over")],
)
@pytest.mark.parametrize("order", [1, -1])
def test_nothing_may_lie_under_a_link(box, second, order):
    members = [("x/y/up", tarfile.SYMTYPE, "../.."), second]
    archive = tar(box / "a.tar", ("good.txt", b"x"), *members[::order])
    assert f"{second[0]!r} lies under a link" in refusal(archive)


@pytest.mark.parametrize("target", ["../out", "/etc/passwd", "later.txt", "soft", "self", "d"])
def test_a_hard_link_to_anything_but_a_file_before_it_is_refused(box, target):
    (box.parent / "out").write_bytes(b"secret")
    archive = tar(
        box / "a.tar",
        ("d/soft.txt", b"x"),
        ("soft", tarfile.SYMTYPE, "d/soft.txt"),
        ("self", tarfile.LNKTYPE, target),
        ("later.txt", b"x"),
    )
    assert f"refused: 'self' is a hard link to {target!r}" in refusal(archive)


def test_a_hard_link_to_what_is_a_file_and_a_symlink_is_refused(box):
    archive = tar(
        box / "a.tar",
        ("d/e/x", b"x"),
        ("d/e/x", tarfile.SYMTYPE, "../.."),
        ("out", tarfile.LNKTYPE, "d/e/x"),
    )
    assert "refused: 'out' is a hard link" in refusal(archive)


@pytest.mark.parametrize("kind", [tarfile.FIFOTYPE, tarfile.CHRTYPE])
def test_devices_and_pipes_are_refused(box, kind):
    archive = tar(box / "a.tar", ("good.txt", b"x"), ("odd", kind))
    assert "refused: 'odd' is a device or pipe" in refusal(archive)


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFIFO, stat.S_IFCHR])
def test_a_zip_with_a_link_or_a_device_is_refused(box, kind):
    odd = zipfile.ZipInfo("odd")
    odd.external_attr = (kind | 0o777) << 16
    archive = zipped(box / "a.zip", ("good.txt", b"x"), (odd, "/etc/passwd"))
    assert "refused: 'odd' is a link or device" in refusal(archive)


def test_an_encrypted_zip_is_refused(box):
    archive = zipped(box / "a.zip", ("secret.png", b"x"))
    raw = bytearray(archive.read_bytes())
    raw[6] |= 1
    raw[raw.index(b"PK\1\2") + 8] |= 1
    archive.write_bytes(raw)
    assert "refused: 'secret.png' is encrypted" in refusal(archive)


def test_a_compression_that_python_lacks_is_named(box):
    archive = zipped(box / "a.zip", ("a.png", b"x"))
    raw = bytearray(archive.read_bytes())
    raw[8] = raw[raw.index(b"PK\1\2") + 10] = 9
    archive.write_bytes(raw)
    assert "compression method is not supported" in refusal(archive)


def test_an_archive_larger_than_the_disk_is_refused_with_both_sizes(box):
    archive = tar(box / "a.tar", ("good.txt", b"x"), ("huge.nii", 10**15))
    said = refusal(archive)
    assert "unpacks to 1.0 PB or more" in said
    assert re.search(rf"{box} has only [\d.]+ [TGM]B free", said)


def test_a_bomb_is_refused(box):
    with zipfile.ZipFile(box / "a.zip", "w", zipfile.ZIP_DEFLATED, compresslevel=1) as packed:
        for name in "ab":
            packed.writestr(name, bytes(55 * 10**6))
    size = (box / "a.zip").stat().st_size
    said = refusal(box / "a.zip")
    assert f"refused: unpacks to 110.0 MB or more, {110 * 10**6 // size} times its size" in said


def test_a_small_archive_may_pack_well(box):
    archive = zipped(box / "a.zip", ("mask.png", bytes(5 * 10**6)))
    assert archive.stat().st_size < 5 * 10**6 / 200
    assert content(unpack(archive, box / "into")) == {"mask.png": bytes(5 * 10**6)}


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:bz2", "w:xz"])
@pytest.mark.parametrize("share", [0.02, 0.5, 0.99])
def test_a_truncated_tar_is_refused(box, mode, share):
    noise = os.urandom(20_000)
    archive = tar(box / "a.tar", ("a", noise), ("b", noise), mode=mode)
    end = archive.stat().st_size if mode != "w" else 42_000
    os.truncate(archive, int(end * share))
    assert "download it again" in refusal(archive)


def test_a_tar_cut_between_two_members_is_refused(box):
    archive = tar(box / "a.tar", ("a", b"x" * 512), ("b", b"x" * 512))
    os.truncate(archive, 1024)
    assert "download it again" in refusal(archive)


def test_an_unreadable_header_is_not_taken_for_the_end(box):
    archive = tar(box / "a.tar", ("a", b"x" * 512), ("b", b"x" * 512))
    raw = bytearray(archive.read_bytes())
    raw[1024] ^= 1
    archive.write_bytes(raw)
    assert "unreadable header" in refusal(archive)


def test_a_negative_size_does_not_make_room_for_another(box):
    archive = tar(box / "a.tar", ("less", -(10**15)), ("huge", 10**15))
    assert "negative size" in refusal(archive)


def test_a_flipped_bit_in_a_gzip_is_found(box):
    with tarfile.open(box / "a.tgz", "w:gz", compresslevel=0) as packed:
        info = tarfile.TarInfo("a")
        info.size = 600
        packed.addfile(info, io.BytesIO(b"needle" * 100))
    raw = (box / "a.tgz").read_bytes()
    (box / "a.tgz").write_bytes(raw.replace(b"needle", b"noodle", 1))
    assert "CRC" in refusal(box / "a.tgz")


def test_a_flipped_bit_in_a_zip_is_found(box):
    archive = box / "a.zip"
    with zipfile.ZipFile(archive, "w") as packed:
        packed.writestr("good.txt", b"x")
        packed.writestr("a", b"needle")
    archive.write_bytes(archive.read_bytes().replace(b"needle", b"noodle"))
    assert "CRC" in refusal(archive)


@pytest.mark.parametrize(
    ("name", "raw"),
    [
        ("a.zip", b""),
        ("a.tar", b""),
        ("a.tar.gz", b"<html>Please log in</html>"),
        ("a.zip", b"<html>Please log in</html>" * 100),
        ("a.zip", b"PK\3\4" + bytes(100)),
    ],
)
def test_what_is_no_archive_is_to_be_downloaded_again(box, name, raw):
    (box / name).write_bytes(raw)
    said = refusal(box / name)
    assert "damaged, or neither tar nor zip" in said
    assert "download it again" in said
    assert f"({len(raw)} bytes, " in said or "2.6 kB" in said


def test_a_missing_archive_is_named(box):
    assert "No such file" in refusal(box / "a.zip")


def test_a_killed_unpacking_leaves_no_half_folder(box):
    archive = tar(box / "a.tar", *FILES.items())
    command = [sys.executable, "-c", PROGRAM, archive, box / "into"]
    ended = subprocess.run([*command, str(int(signal.SIGKILL)), "b.txt"], timeout=60)
    assert ended.returncode == -signal.SIGKILL
    assert [path.name for path in box.rglob("*.txt")] == ["top.txt", "a.txt"]
    assert not (box / "into").exists()
    assert content(unpack(archive, box / "into")) == FILES


def test_an_interrupted_unpacking_leaves_nothing(box):
    archive = tar(box / "a.tar", *FILES.items())
    command = [sys.executable, "-c", PROGRAM, archive, box / "into"]
    ended = subprocess.run(
        [*command, str(int(signal.SIGINT)), "b.txt"], timeout=60, capture_output=True
    )
    assert ended.returncode == -signal.SIGINT
    assert list(box.iterdir()) == [archive]


def test_a_bar_is_drawn_on_a_terminal_only(box, capfd):
    archive = tar(box / "a.tar", *FILES.items())
    unpack(archive, box / "into")
    assert capfd.readouterr() == ("", "")
    ours, theirs = pty.openpty()
    command = [sys.executable, "-c", PROGRAM, archive, box / "other", "0", "never"]
    subprocess.run(command, stderr=theirs, env=os.environ | {"TERM": "xterm"}, timeout=60)
    os.close(theirs)
    drawn = os.read(ours, 2**16).decode()
    os.close(ours)
    assert "unpacking a.tar" in drawn
    assert "3.0/3.0 kB" in drawn
