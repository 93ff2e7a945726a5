"""How busy the machine is, while a run trains."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping

from mlflow.exceptions import MlflowException
from mlflow.system_metrics.metrics.cpu_monitor import CPUMonitor
from mlflow.system_metrics.metrics.disk_monitor import DiskMonitor
from mlflow.system_metrics.metrics.gpu_monitor import GPUMonitor
from mlflow.system_metrics.metrics.network_monitor import NetworkMonitor

from seg.contracts import first_line

EVERY_S = 10.0

log = logging.getLogger(__name__)


class Sampler(threading.Thread):
    """Tell a run every ten seconds what MLflow's own monitors read, under the names that they give.

    Args:
        tell: takes values by name, and how many times there were values before.
    """

    def __init__(self, tell: Callable[[Mapping[str, float], int], None]) -> None:
        """Take the monitors that work here."""
        super().__init__(name="system metrics", daemon=True)
        self._tell, self._over = tell, threading.Event()
        self._monitors = [CPUMonitor(), DiskMonitor(), NetworkMonitor()]
        try:
            self._monitors.append(GPUMonitor())
        except (ImportError, RuntimeError, MlflowException) as error:
            log.info("tracking.system_metrics: no GPU is watched (%s)", error)

    def run(self) -> None:
        """Read and tell, in the thread."""
        step = 0
        while not self._over.wait(EVERY_S):
            try:
                self._tell(self._read(), step)
            except Exception as error:  # noqa: BLE001  nothing here may end the run
                log.warning("tracking.system_metrics: stopped (%s)", first_line(error))
                return
            step += 1

    def _read(self) -> dict[str, float]:
        values: dict[str, float] = {}
        for monitor in self._monitors:
            monitor.collect_metrics()
            values |= {f"system/{name}": v for name, v in monitor.aggregate_metrics().items()}
            monitor.clear_metrics()
        return values

    def close(self) -> None:
        """Stop reading."""
        self._over.set()
        self.join()
