"""What all but the first of several workers do: train with it, and leave nothing behind."""

from __future__ import annotations

import tempfile
from pathlib import Path

from omegaconf import DictConfig

from seg import parts, runfolder


def assist(cfg: DictConfig) -> None:
    """Train with the first of several workers, in a folder that goes away: all do the same."""
    with tempfile.TemporaryDirectory(prefix="seg-worker-") as name:
        folder = Path(name)
        with runfolder.stderr_to(folder / "run.log"):
            from seg import stages, workers
            from seg.track import find
            from seg.track.run import Unheard
        strategy, tracker = parts.strategy(cfg, folder), Unheard(folder)
        uri = find.chosen(cfg.tracking.uri, Path(cfg.paths.outputs))
        checkpoint = parts.find_checkpoint(find.pinned(cfg.checkpoint, uri), uri, folder)
        with workers.together():
            with strategy.scope():
                model = parts.model(cfg, stages.names(cfg), checkpoint)
            splits, data = stages.split(cfg, checkpoint, folder, tracker)
            workers.require_same(strategy, "data", data)
            stages.fit(cfg, model, splits, parts.augment(cfg, model), folder, tracker)
