"""Facts about `seg.data.fetch`, told by a real server on this machine."""

import gzip
import hashlib
import logging
import os
import pty
import re
import socket
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest

from seg.contracts import SegError
from seg.data import fetch

CONTENT = np.random.default_rng(0).bytes(500_000)
MD5 = hashlib.md5(CONTENT, usedforsecurity=False).hexdigest()
PROGRAM = """
import sys
from pathlib import Path
from seg.data.fetch import address
address(Path(sys.argv[1]), *sys.argv[2:])
"""


class Server(ThreadingHTTPServer):
    """Gives CONTENT at /scans.tar and remembers what it was asked for and what it sent.

    Attributes:
        cuts: after how many bytes the next answers break off.
        knows_ranges: False answers every request with the whole file.
        declared: Content-Length, where it is not the truth.
        stalls: an event the handler waits for in place of breaking off.
        asked: the Range header of each request.
        sent: number of content bytes of each answer.
    """

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.content, self.cuts, self.knows_ranges = CONTENT, [], True
        self.declared, self.status, self.stalls = None, 200, None
        self.asked, self.sent = [], []
        self.url = f"http://127.0.0.1:{self.server_port}/data/scans.tar"


class Handler(BaseHTTPRequestHandler):
    def log_message(self, *args):
        pass

    def do_GET(self):
        server, asked = self.server, self.headers.get("Range")
        server.asked.append(asked)
        start = int(asked[6:-1]) if asked and server.knows_ranges else 0
        if server.status != 200 or not self.path.startswith("/data/scans.tar"):
            return self.send_error(server.status if server.status != 200 else 404)
        if start >= len(server.content):
            return self.send_error(416)
        # What is compressed on the way cannot be gone on with: the client must not ask for it.
        compressed = "gzip" in self.headers.get("Accept-Encoding", "")
        body = (gzip.compress(server.content) if compressed else server.content)[start:]
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(server.declared or len(body)))
        if compressed:
            self.send_header("Content-Encoding", "gzip")
        self.end_headers()
        body = body[: server.cuts.pop(0)] if server.cuts else body
        server.sent.append(len(body))
        self.wfile.write(body)
        if server.stalls:
            server.stalls.wait(60)


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setenv("NO_PROXY", "*")
    monkeypatch.setattr(fetch, "PAUSE_S", 0)
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def refusal(root, url, md5=MD5):
    with pytest.raises(SegError) as caught:
        fetch.address(root, url, md5)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def lying(root):
    return {p.name: p.stat().st_size for p in root.iterdir() if not p.name.startswith(".")}


@pytest.mark.parametrize("query", ["", "?download=1", "#top"])
def test_a_file_is_fetched_under_the_name_in_its_address(server, tmp_path, query):
    path = fetch.address(tmp_path / "new" / "root", server.url + query, MD5)
    assert path == tmp_path / "new" / "root" / "scans.tar"
    assert path.read_bytes() == CONTENT
    assert lying(path.parent) == {"scans.tar": len(CONTENT)}


def test_a_file_that_is_there_is_not_fetched_again(server, tmp_path):
    (tmp_path / "scans.tar").write_bytes(CONTENT)
    assert fetch.address(tmp_path, server.url, MD5) == tmp_path / "scans.tar"
    assert server.asked == []


def test_a_file_that_is_there_with_another_content_is_fetched_anew(server, tmp_path):
    (tmp_path / "scans.tar").write_bytes(CONTENT[:-1])
    assert fetch.address(tmp_path, server.url, MD5).read_bytes() == CONTENT


def test_a_broken_download_goes_on_where_it_stopped(server, tmp_path):
    server.cuts = [200_000, 100_000]
    assert fetch.address(tmp_path, server.url, MD5).read_bytes() == CONTENT
    starts = [int(asked[len("bytes=") : -1]) for asked in server.asked[1:]]
    assert server.asked[0] is None
    assert len(starts) == 2
    assert 200_000 - fetch.CHUNK_BYTES < starts[0] <= 200_000
    assert starts[0] + 100_000 - fetch.CHUNK_BYTES < starts[1] <= starts[0] + 100_000
    assert server.sent == [200_000, 100_000, len(CONTENT) - starts[1]]


def test_a_download_given_up_says_what_is_there_and_goes_on_from_it(server, tmp_path):
    server.cuts = [100_000] * fetch.TRIES
    said = refusal(tmp_path, server.url)
    there = (tmp_path / "scans.tar.part").stat().st_size
    assert lying(tmp_path) == {"scans.tar.part": there}
    assert f"go on from the {there} bytes that are there" in said
    assert len(server.asked) == fetch.TRIES
    assert fetch.address(tmp_path, server.url, MD5).read_bytes() == CONTENT
    assert server.asked[fetch.TRIES] == f"bytes={there}-"
    assert server.sent[fetch.TRIES] == len(CONTENT) - there


def test_a_killed_download_goes_on_where_it_stopped(server, tmp_path):
    server.cuts, server.stalls = [300_000], threading.Event()
    part = tmp_path / "scans.tar.part"
    with subprocess.Popen([sys.executable, "-c", PROGRAM, tmp_path, server.url, MD5]) as process:
        deadline = time.monotonic() + 60
        while fetch._size(part) < 200_000 and time.monotonic() < deadline:
            time.sleep(0.01)
        process.kill()
    server.stalls.set()
    there = part.stat().st_size
    assert fetch.address(tmp_path, server.url, MD5).read_bytes() == CONTENT
    assert server.asked == [None, f"bytes={there}-"]


def test_a_server_that_ignores_ranges_sends_all_of_it_again(server, tmp_path, caplog):
    caplog.set_level(logging.INFO)
    server.knows_ranges = False
    (tmp_path / "scans.tar.part").write_bytes(CONTENT[:1000])
    assert fetch.address(tmp_path, server.url, MD5).read_bytes() == CONTENT
    assert server.asked == ["bytes=1000-"]
    assert "500.0 kB, 0 bytes there" in caplog.text


def test_a_part_longer_than_the_file_is_thrown_away(server, tmp_path):
    (tmp_path / "scans.tar.part").write_bytes(bytes(len(CONTENT) + 1))
    assert fetch.address(tmp_path, server.url, MD5).read_bytes() == CONTENT
    assert server.asked == [f"bytes={len(CONTENT) + 1}-", None]


def test_another_content_is_removed_and_both_checksums_are_said(server, tmp_path):
    server.content = CONTENT[::-1]
    got = hashlib.md5(server.content, usedforsecurity=False).hexdigest()
    said = refusal(tmp_path, server.url)
    assert said.startswith(server.url)
    assert f"expected md5:{MD5} but got {got}; what came was removed" in said
    assert lying(tmp_path) == {}


def test_a_part_of_another_file_is_found_out_and_the_next_try_is_clean(server, tmp_path):
    (tmp_path / "scans.tar.part").write_bytes(bytes(1000))
    assert f"expected md5:{MD5}" in refusal(tmp_path, server.url)
    assert fetch.address(tmp_path, server.url, MD5).read_bytes() == CONTENT


@pytest.mark.parametrize(("status", "said"), [(404, "404 Client Error"), (503, "503 Server Error")])
def test_a_refusal_of_the_server_is_said_at_once_and_costs_nothing(server, tmp_path, status, said):
    server.status = status
    (tmp_path / "scans.tar.part").write_bytes(CONTENT[:1000])
    error = refusal(tmp_path, server.url)
    assert error.startswith(f"{server.url}: {said}: ")
    assert error.endswith("or download it by hand and give dataset.source=PATH")
    assert len(server.asked) == 1
    assert lying(tmp_path) == {"scans.tar.part": 1000}


def test_a_host_that_does_not_answer_is_named(tmp_path, monkeypatch):
    monkeypatch.setenv("NO_PROXY", "*")
    monkeypatch.setattr(fetch, "PAUSE_S", 0)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}/scans.tar"
        error = refusal(tmp_path, url)
    assert error.startswith(f"{url}: [Errno 111] Connection refused (4 tries); ")
    assert error.endswith("or download it by hand and give dataset.source=PATH")
    assert lying(tmp_path) == {}


@pytest.mark.parametrize("url", ["nonsense", "ftp://127.0.0.1/scans.tar"])
def test_what_is_no_web_address_is_refused(tmp_path, url):
    error = refusal(tmp_path, url)
    assert error.startswith(f"{url}: ")
    assert "check dataset.fetch.url" in error


@pytest.mark.parametrize("there", [0, 1000])
def test_a_file_larger_than_the_disk_is_refused_before_a_byte_of_it(server, tmp_path, there):
    server.declared = 10**15
    if there:
        (tmp_path / "scans.tar.part").write_bytes(CONTENT[:there])
    error = refusal(tmp_path, server.url)
    assert "needs 1.0 PB" in error
    assert re.search(rf"{tmp_path} has only [\d.]+ [TGM]B free", error)
    assert lying(tmp_path) == ({"scans.tar.part": there} if there else {})
    assert len(server.asked) == 1


def test_a_root_that_cannot_be_is_named(server, tmp_path):
    (tmp_path / "file").touch()
    assert refusal(tmp_path / "file" / "root", server.url).startswith(f"{tmp_path}/file/root: ")


def test_a_log_line_tells_the_size(server, tmp_path, caplog):
    (tmp_path / "scans.tar.part").write_bytes(CONTENT[:100_000])
    caplog.set_level(logging.INFO)
    fetch.address(tmp_path, server.url, MD5)
    lines = [record.message for record in caplog.records if record.name == "seg.data.fetch"]
    assert lines == [f"downloading {server.url}: 500.0 kB, 100.0 kB there"]


def test_a_bar_is_drawn_on_a_terminal_only(server, tmp_path):
    command = [sys.executable, "-c", PROGRAM, tmp_path, server.url, MD5]
    silent = subprocess.run(command, capture_output=True, timeout=60)
    assert (silent.returncode, silent.stdout, silent.stderr) == (0, b"", b"")
    (tmp_path / "scans.tar").unlink()
    (tmp_path / "scans.tar.part").write_bytes(CONTENT[:100_000])
    ours, theirs = pty.openpty()
    subprocess.run(command, stderr=theirs, env=os.environ | {"TERM": "xterm"}, timeout=60)
    os.close(theirs)
    drawn = os.read(ours, 2**16).decode()
    os.close(ours)
    assert "500.0/500.0 kB" in drawn


def test_without_kagglehub_the_user_is_told_both_ways_out(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "kagglehub", None)
    with pytest.raises(SegError) as caught:
        fetch.kaggle(tmp_path, "owner/name")
    assert str(caught.value) == (
        "https://www.kaggle.com/datasets/owner/name: needs kagglehub; run pip install "
        "kagglehub, or download it by hand and give dataset.source=PATH"
    )


@pytest.mark.parametrize("handle", ["owner/name", "nonsense"])
@pytest.mark.parametrize("cache", [None, "elsewhere"])
def test_what_kagglehub_cannot_get_is_named(tmp_path, monkeypatch, handle, cache):
    pytest.importorskip("kagglehub")
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
    monkeypatch.delenv("KAGGLEHUB_CACHE", raising=False)
    if cache:
        monkeypatch.setenv("KAGGLEHUB_CACHE", cache)
    with pytest.raises(SegError, match=f"datasets/{handle}: .+; check dataset.fetch.handle, or"):
        fetch.kaggle(tmp_path, handle)
    assert os.environ.get("KAGGLEHUB_CACHE") == cache


def test_kagglehub_keeps_its_files_under_the_root(tmp_path):
    pytest.importorskip("kagglehub")
    versions = tmp_path / "datasets" / "owner" / "name" / "versions"
    (versions / "3").mkdir(parents=True)
    (versions.parent / "3.complete").touch()
    assert fetch.kaggle(tmp_path, "owner/name/versions/3") == versions / "3"
