"""From a validated config to the parts of its experiment: model, cases, splits, augmentation."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig, OmegaConf

from seg import runfolder
from seg.build import build, target
from seg.config import classes, how_to_get, image_size
from seg.contracts import SegError

if TYPE_CHECKING:
    import keras

    from seg.contracts import Augment, Case, Splits
    from seg.models.manual import Manual
    from seg.workers import Strategy

log = logging.getLogger(__name__)


def input_shape(cfg: DictConfig) -> tuple[int, int, int]:
    """Return height, width and channels of the model's input."""
    return (*image_size(cfg), cfg.dataset.channels)


def strategy(cfg: DictConfig, folder: Path) -> Strategy:
    """Set the seeds and the numerics, and find the devices and the other workers."""
    from seg import devices, reproduce, workers

    plan = cfg.trainer
    together = (plan.workers or (), plan.worker or 0)
    reproduce.seed_everything(cfg.seed)
    devices.set_numerics(plan.precision.name, plan.deterministic)
    workers.meet(*together)
    with runfolder.stderr_to(folder / "run.log"):
        found = devices.strategy(plan.devices, plan.batch_size, *together)
    workers.require_same(found, "config", _common(cfg))
    return found


def _common(cfg: DictConfig) -> dict[str, Any]:
    """Return what is the same for all workers: all but where each has its files."""
    plain = OmegaConf.to_container(cfg, enum_to_str=True)
    del plain["trainer"]["worker"]
    for key in ("root", "source", "download", "cache"):
        del plain["dataset"][key]
    for key in ("paths", "tracking", "checkpoint", "rerun", "sweep"):
        del plain[key]
    return plain


def model(cfg: DictConfig, stages: list[str], checkpoint: Path | None) -> keras.Model:
    """Load or build the model, and compare it with the data before any is read."""
    from seg.models import check, saved

    shape = input_shape(cfg)
    if checkpoint:
        target("model", cfg.model)  # Keras finds only the layers of imported packages
        _require_labels(cfg, checkpoint)
        found = saved.load(checkpoint)
        if cfg.model.get("deep_supervision") and "train" in stages:
            log.warning("checkpoint: has the answer only, and goes on without deep supervision")
    else:
        found = check.functional(build("model", cfg.model, input_shape=shape), shape)
        found.name = cfg.model.name
    check.require_fit(found, shape[:2], shape[2], classes(cfg).logits)
    if not checkpoint:
        check.require_savable(found)
    log.info("model %s: %s parameters", found.name, f"{found.count_params():,}")
    return found


def _require_labels(cfg: DictConfig, checkpoint: Path) -> None:
    """Refuse labels other than those that a checkpoint has learned, as it or its run says."""
    from seg.models import manual

    known, config = manual.read(checkpoint), checkpoint.parent / "config.yaml"
    if known:
        learned = known.labels
    elif config.exists():
        learned = OmegaConf.select(OmegaConf.load(config), "dataset.labels")
    else:
        return
    if dict(learned or {}) != dict(classes(cfg).labels):
        raise SegError(
            f"dataset.labels must be what the checkpoint has learned, {learned or 'null'}. "
            f"Received: {cfg.dataset.labels or 'null'}"
        )


def splits(cfg: DictConfig, stages: list[str], checkpoint: Path | None) -> Splits:
    """Read and verify the cases and divide them, in sight of what a checkpoint has learned."""
    from seg.data import check, split

    data, leakage = cfg.dataset, cfg.dataset.leakage.name
    how = (data.fractions, data.split_seed, leakage, data.fold, data.folds)
    cases = _measured(_cases(cfg), data.spacing_mm)
    check.warn_of_gaps([case for case in cases if case.spacing_mm or data.lesions])
    drawn = split.by_patient(cases, *how)
    split.require(drawn, stages, cfg.trainer.monitor)
    if checkpoint and (known := checkpoint.parent / "splits.json").exists():
        trained_on = json.loads(known.read_text())
        drawn = split.against_checkpoint(drawn, trained_on, stages, leakage)
    return drawn


def _measured(cases: list[Case], spacing_mm: Sequence[float] | None) -> list[Case]:
    """Give the cases whose files say no spacing the one that the config says."""
    if spacing_mm is None:
        return cases
    return [case if case.spacing_mm else replace(case, spacing_mm=(*spacing_mm,)) for case in cases]


def _cases(cfg: DictConfig) -> list[Case]:
    """Read a prepared dataset, or image/mask folders, which are verified first."""
    from seg.data import check, prepared

    data, root = cfg.dataset, Path(cfg.dataset.root).expanduser()
    if root.is_file():
        raise SegError(f"dataset.root: {root} is a file; an archive is given as dataset.source")
    home = _prepared(cfg, root) if data.raw and data.prepare else None
    if home:
        return prepared.read(home, data.on_bad.name, data.channels, classes(cfg))
    holds = root.is_dir() and any(not path.name.startswith(".") for path in root.iterdir())
    if not data.reader or (data.raw and not holds):
        lacks = "nothing to read in" if root.is_dir() else "no folder"
        raise SegError(f"dataset.root: {lacks} {root.resolve()}; {how_to_get(data)}")
    cases = build("dataset.reader", data.reader, root=root)
    return check.verified(cases, data.channels, classes(cfg), data.on_bad.name)


def _prepared(cfg: DictConfig, root: Path) -> Path | None:
    """Return the prepared dataset, made from its source where that is given or fetched."""
    from seg.data import prepare, prepared

    data = cfg.dataset
    plain = OmegaConf.to_container(data)
    recipe, fetch = {key: plain[key] for key in ("name", "raw", "prepare")}, plain["fetch"]
    if recipe["prepare"].get("merge_labels") is True:
        del recipe["prepare"]["merge_labels"]  # named as it was before there was a choice
    if data.download and (there := prepared.fitting(root, recipe, fetch)):
        return there[0]
    parts = (build("dataset.raw", data.raw), build("dataset.prepare", data.prepare))
    source = build("dataset.fetch", data.fetch, root=root) if data.download else data.source
    if not source:
        return prepared.find(root, recipe)
    about = {**data.about, "recipe": recipe, "fetched": fetch if data.download else None}
    return prepare.prepare(Path(source).expanduser(), root, *parts, about, data.on_bad.name)


def augment(cfg: DictConfig, model: keras.Model | None) -> Augment | None:
    """Return what training samples go through, None where nothing changes them."""
    from seg.augment.chain import chain

    shape = model.output_shape if model else (1,)
    logits = shape[0][-1] if isinstance(shape, list) else shape[-1]
    made = chain(build("augment", cfg.augment), binary=logits == 1 and not cfg.dataset.labels)
    if made and made.mixing and cfg.trainer.batch_size < 2:
        raise SegError(
            "trainer.batch_size must be 2 or more, or augment.mixup and augment.cutmix null: a "
            f"sample is mixed with another of its batch. Received: {cfg.trainer.batch_size}"
        )
    return made


def manual(cfg: DictConfig, learned: tuple[Case, ...], augment: Augment | None) -> Manual:
    """Say of a model that has learned from some cases how it is used, before anything is chosen."""
    from seg.augment.geometry import Flip
    from seg.data import images, prepared
    from seg.models.manual import Manual

    slices = [slice_ for case in learned for slice_ in case.slices]
    recipe, channels = prepared.made_of(learned)
    return Manual(
        image_size(cfg),
        cfg.dataset.channels,
        classes(cfg).labels,
        images.largest(slice_.image for slice_ in slices) if slices else None,
        stacked=any(len(case.slices) > 1 for case in learned),
        sequences=channels if "plane" in recipe.get("raw", ()) else 1,
        raw=recipe.get("raw"),
        prepare=recipe.get("prepare"),
        flips=tuple(t.axis for t in getattr(augment, "spatial", ()) if isinstance(t, Flip)),
    )


def find_checkpoint(given: str | None, uri: str, folder: Path) -> Path | None:
    """Find the .keras file that `checkpoint` means: a file, a run folder or an MLflow run id."""
    from seg.track import find

    if given is None:
        return None
    path = Path(given)
    path = path / "model.keras" if path.is_dir() else path
    if path.exists():
        return path
    if path.suffix == ".keras":
        raise SegError(
            f"checkpoint: no file {path.resolve()}; give a .keras file, a run folder "
            "or an MLflow run id"
        )
    return find.fetch_model(given, uri, folder / "checkpoint")
