"""What tracking costs a run: the same training beside a server that works, is dead, hangs or dies.

python scripts/bench_tracking.py [ROUNDS]

Each round runs all of them, in another order; the table has medians and their ratio to the first.
"""

from __future__ import annotations

import os
import random
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from pathlib import Path

JOB = ["dataset.reader.patients=20", "trainer.epochs=8", "trainer.deterministic=true"]
NO_JOBS = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}


def main() -> None:
    """Run the rounds and print the table."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 3
    seconds: dict[str, list[float]] = {name: [] for name in KINDS}
    with tempfile.TemporaryDirectory() as home:
        timed(Path(home), uri=None)  # the data, and the disk's cache
        for n in range(rounds):
            for name in random.Random(n).sample([*KINDS], len(KINDS)):  # noqa: S311
                seconds[name].append(KINDS[name](Path(home)))
    first = statistics.median(seconds["SQLite file"])
    sys.stdout.write(f"{'tracking':<34}{'s':>8}{'ratio':>8}   all\n")
    for name, values in seconds.items():
        median = statistics.median(values)
        each = " ".join(f"{value:.1f}" for value in values)
        sys.stdout.write(f"{name:<34}{median:8.1f}{median / first:8.2f}   {each}\n")


def timed(home: Path, uri: str | None, on_epoch: dict[str, object] | None = None) -> float:
    """Run the job and return its seconds; `on_epoch` has what to call at the lines of the log."""
    begun = time.perf_counter()
    job = subprocess.Popen(
        [sys.executable, "-m", "seg.run", *JOB, *([f"tracking.uri={uri}"] if uri else [])],
        cwd=home,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    for line in job.stderr:
        for start, call in (on_epoch or {}).items():
            if line.startswith(start):
                call()
    if job.wait():
        raise SystemExit("the job failed")
    return time.perf_counter() - begun


class Server:
    """An MLflow server of its own process group."""

    def __init__(self, home: Path) -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        self.home, self.uri = home, f"http://127.0.0.1:{self.port}"
        self.start()
        while True:
            try:
                with urllib.request.urlopen(f"{self.uri}/health", timeout=1):  # noqa: S310
                    return
            except OSError:
                time.sleep(0.2)

    def start(self) -> None:
        """Start it, without waiting."""
        words = ["--backend-store-uri", f"sqlite:///{self.home}/server.db", "--workers", "1"]
        words += ["--artifacts-destination", f"{self.home}/artifacts", "--port", str(self.port)]
        self.process = subprocess.Popen(
            [sys.executable, "-m", "mlflow", "server", *words],
            env=os.environ | NO_JOBS,
            start_new_session=True,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    def send(self, sign: signal.Signals) -> None:
        """Send a signal to all its processes."""
        os.killpg(self.process.pid, sign)


def file(home: Path) -> float:
    """Track in the default store."""
    return timed(home, None)


def works(home: Path) -> float:
    """Track on a server that answers."""
    server = Server(home)
    try:
        return timed(home, server.uri)
    finally:
        server.send(signal.SIGKILL)


def dead(home: Path) -> float:
    """Track where nobody listens."""
    return timed(home, "http://127.0.0.1:9")


def hangs(home: Path) -> float:
    """Track on a socket that accepts and never answers."""
    silent = socket.create_server(("127.0.0.1", 0))
    threading.Thread(target=lambda: [silent.accept() for _ in range(99)], daemon=True).start()
    return timed(home, f"http://127.0.0.1:{silent.getsockname()[1]}")


def killed(home: Path) -> float:
    """Kill the server in the middle."""
    server = Server(home)
    return timed(home, server.uri, {"epoch 3/": lambda: server.send(signal.SIGKILL)})


def back(home: Path) -> float:
    """Stop the server for four epochs, as if it hung."""
    server = Server(home)
    signs = {"epoch 2/": signal.SIGSTOP, "epoch 6/": signal.SIGCONT}
    calls = {line: lambda sign=sign: server.send(sign) for line, sign in signs.items()}
    try:
        return timed(home, server.uri, calls)
    finally:
        server.send(signal.SIGKILL)


KINDS = {
    "SQLite file": file,
    "server that works": works,
    "nobody at the address": dead,
    "server that hangs": hangs,
    "server killed after epoch 3": killed,
    "server that hangs from 2 to 6": back,
}

if __name__ == "__main__":
    main()
