"""The stages of an experiment, from its model and its cases to what they leave in the folder."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import keras
import pandas as pd
from omegaconf import DictConfig, OmegaConf

from seg import describe, evaluate, parts, reproduce, runfolder, summary, tables, train, workers
from seg.build import build
from seg.config import classes, image_size
from seg.contracts import Augment, Case, Prediction, Splits
from seg.data import cache, digest, pipeline, prepared
from seg.data import split as splitting
from seg.figures import plots
from seg.figures.pictures import Style
from seg.infer import settings
from seg.infer.cases import masked, probable, saved
from seg.infer.hardest import Hardest
from seg.models import manual
from seg.models import saved as files
from seg.models.manual import Manual

if TYPE_CHECKING:
    from seg.track.run import MlflowRun

log = logging.getLogger(__name__)


def split(
    cfg: DictConfig, checkpoint: Path | None, folder: Path, tracker: MlflowRun
) -> tuple[Splits | None, dict[str, dict]]:
    """Divide the cases, and leave in the folder and with the tracker which they are.

    Returns:
        The cases, and by side of the split their digest and number; None and nothing where no
        stage reads any.
    """
    stages = names(cfg)
    if stages == ["summary"]:
        return None, {}
    splits = parts.splits(cfg, stages, checkpoint)
    data = {side: digest.contents(cases) for side, cases in splits.sides().items() if cases}
    runfolder.write_json(folder / "splits.json", splitting.as_json(splits))
    runfolder.write_json(folder / "data.json", data)
    tracker.dataset(cfg.dataset.name, str(Path(cfg.dataset.root).resolve()), data)
    tracker.tags({"data.leakage": str(bool(splits.leaks)).lower()})
    return splits, data


def run(
    cfg: DictConfig,
    model: keras.Model | None,
    splits: Splits | None,
    folder: Path,
    tracker: MlflowRun,
    checkpoint: Path | None = None,
    callbacks: Sequence[keras.callbacks.Callback] = (),
) -> dict[str, float]:
    """Run the stages and return what they have measured, as in summary.json.

    Args:
        cfg: validated.
        model: None where no stage uses one.
        splits: as `split` returns them.
        folder: of the run.
        tracker: is told of it.
        checkpoint: file that the model comes from, if it does.
        callbacks: to train under, besides the usual.
    """
    stages, results = {*names(cfg)}, {}
    _style(cfg)  # a wrong colour is refused before hours of training
    augment = parts.augment(cfg, model) if {"describe", "train"} & stages else None
    if "summary" in stages:
        results |= summary.summarize(model, folder / "summary", parts.input_shape(cfg))
    if "describe" in stages:
        results |= _describe(cfg, splits, augment, folder)
    if "train" in stages:
        known = parts.manual(cfg, splits.train, augment)
        settings.flipping(OmegaConf.to_object(cfg.infer), known)  # as is a flip never learned
        results |= fit(cfg, model, splits, augment, folder, tracker, callbacks)
        plots.curves(folder / "history.csv", results["best/epoch"], folder / "figures")
        model = files.drop_training_state(folder / "model.keras")
        known, scores = _validate(cfg, model, splits.valid, known)
        results |= scores
        manual.write(known, folder / "model.keras")
        results |= known.told()
        if cfg.tracking.log_model:
            tracker.model(model, folder / "model.keras", reproduce.requirements())
    if {"evaluate", "infer"} & stages:
        if "train" not in stages:
            known = _known(cfg, checkpoint, splits.test)
            results |= known.told()
        results |= _test(cfg, model, splits.test, known, folder, tracker)
    return results


def names(cfg: DictConfig) -> list[str]:
    """Return the stages as they are typed."""
    return [stage.name for stage in cfg.stages]


def _describe(
    cfg: DictConfig, splits: Splits, augment: Augment | None, folder: Path
) -> dict[str, float]:
    looks = (cfg.dataset.channels, classes(cfg))
    results = describe.describe(splits, *looks, folder / "describe")
    if splits.train and augment:
        slices = cache.load(splits.train, image_size(cfg), *looks, "off", folder)
        describe.augmented(splits.train, slices, augment, cfg.seed, folder / "describe")
    return results


def fit(
    cfg: DictConfig,
    model: keras.Model,
    splits: Splits,
    augment: Augment | None,
    folder: Path,
    tracker: MlflowRun,
    callbacks: Sequence[keras.callbacks.Callback] = (),
) -> dict[str, float]:
    """Fit, leave model.keras and history.csv in the folder, return how it went."""
    data, plan = cfg.dataset, OmegaConf.to_object(cfg.trainer)
    how = (image_size(cfg), data.channels, classes(cfg), data.cache.name, folder)
    with model.distribute_strategy.scope():
        model.compile(
            optimizer=build("optimizer", cfg.optimizer),
            loss=build("loss", cfg.loss),
            metrics=list(build("metrics", cfg.metrics).values()),
            jit_compile=plan.jit_compile,
        )
        # Or Keras would make its variables while it traces the first step, and trace that twice.
        model.optimizer.build(model.trainable_variables)
    learned = splitting.thinned(splits.train, data.empty_ratio, cfg.seed)
    slices, valid = cache.load(learned, *how), cache.load(splits.valid, *how)
    share = workers.share(model.distribute_strategy)
    batches = pipeline.endless(slices, plan.batch_size, cfg.seed, augment, share)
    steps = plan.steps_per_epoch or math.ceil(len(slices.ids) / plan.batch_size)
    for side, cases, n in (
        ("train", learned, len(slices.ids)),
        ("valid", splits.valid, len(valid.ids)),
    ):
        log.info("%s: %d slices of %d patients", side, n, len({case.patient for case in cases}))
    return train.fit(model, batches, steps, valid, plan, folder, tracker, callbacks)


def _known(cfg: DictConfig, checkpoint: Path, cases: tuple[Case, ...]) -> Manual:
    """Return how a checkpoint is used on cases: by its own manual, but what the config says."""
    known = manual.read(checkpoint)
    if known is None:
        log.warning("checkpoint: says nothing of its use; its threshold is 0.5 unless you say more")
        known = parts.manual(cfg, (), None)
    intensity = (prepared.made_of(cases)[0].get("prepare") or {}).get("intensity")
    learned = (known.prepare or {}).get("intensity")
    if intensity and learned and intensity != learned:
        log.warning(
            "checkpoint: has learned from images of dataset.prepare.intensity=%s, and these are of "
            "%s: its scores will be too low",
            *(learned, intensity),
        )
    return settings.told(replace(known, size=image_size(cfg)), OmegaConf.to_object(cfg.infer))


def _validate(
    cfg: DictConfig, model: keras.Model, cases: tuple[Case, ...], known: Manual
) -> tuple[Manual, dict[str, float]]:
    """Choose how masks are made, and score the validation patients so; of none, nothing."""
    infer = OmegaConf.to_object(cfg.infer)
    if not cases:
        return settings.told(known, infer), {}
    known, choice, predictions = settings.settled(
        model, cases, classes(cfg), known, infer, cfg.trainer.batch_size
    )
    summary = evaluate.summarize(_scored(cfg, predictions), "val")
    log.info(
        "validation: Dice %.4f by %s; %.4f by a threshold of 0.5 alone",
        *(summary["val/dice"], known.said(), choice.plain),
    )
    return known, summary | {"val/dice_plain": choice.plain}


def _style(cfg: DictConfig) -> Style:
    return Style(**OmegaConf.to_container(cfg.overlay))


def _scored(cfg: DictConfig, predictions: Iterable[Prediction]) -> list[evaluate.Row]:
    data = cfg.dataset
    how = {"tolerance_mm": data.surface_tolerance_mm, "lesions": data.lesions}
    return evaluate.score_cases(predictions, classes(cfg).names, **how)


def _test(
    cfg: DictConfig,
    model: keras.Model,
    cases: tuple[Case, ...],
    known: Manual,
    folder: Path,
    tracker: MlflowRun,
) -> dict[str, float]:
    """Predict the test cases once, for scores, for pictures, or for both."""
    stages = names(cfg)
    views = settings.views(known, OmegaConf.to_object(cfg.infer), cfg.trainer.batch_size)
    predictions = masked(
        probable(model, cases, classes(cfg), views), known.threshold, known.cleanup
    )
    if "infer" in stages:
        predictions = saved(predictions, folder, classes(cfg), _style(cfg))
    hardest = Hardest()
    rows = _scored(cfg, hardest.watch(predictions))
    if "evaluate" not in stages:
        return {}
    evaluate.write_rows(rows, folder / "cases.csv")
    tracker.table(evaluate.write_table(rows, folder / "cases.json"))
    evaluate.strata(rows).to_csv(folder / "strata.csv", index=False)
    summary = evaluate.summarize(rows, "test")
    interval = (summary["test/dice_ci_low"], summary["test/dice_ci_high"])
    log.info(
        "test: Dice %.4f (%s) over %d patients",
        *(summary["test/dice"], tables.spread(*interval, digits=4), summary["test/patients"]),
    )
    for name in classes(cfg).names:
        log.info("test: Dice of %s %.4f", name, summary[f"test/dice_{name}"])
    figures = folder / "figures"
    plots.case_scores(rows, "dice", summary["test/dice"], interval, figures / "test_dice.png")
    chosen, sheet = evaluate.examples(rows), figures / "contact_sheet.png"
    hardest.draw(chosen, sheet, classes(cfg), _style(cfg))
    return summary


def strata(folder: Path) -> pd.DataFrame | None:
    """Return the scores by size of the target that `run` has left, None where it has not."""
    table = folder / "strata.csv"
    return pd.read_csv(table) if table.exists() else None
