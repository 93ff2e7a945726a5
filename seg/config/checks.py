"""What contradicts itself in a config: pairs of whether it does, and the sentence that says so."""

from __future__ import annotations

import re

from omegaconf import DictConfig, OmegaConf

from seg.config.read import how_to_get
from seg.config.schema import Stage
from seg.contracts import Scores


def contradictions(cfg: DictConfig) -> list[tuple[bool, str]]:
    """Check the config of a run."""
    dataset, trainer = cfg.dataset, cfg.trainer
    stages = [stage.name for stage in cfg.stages]
    curves = _curves(cfg)
    monitored = monitored_curves(cfg)
    objectives = [f"val/{name}" for name in Scores.gains()]
    fractions = list(dataset.fractions)
    return [
        (
            cfg.tracking.register is not None
            and not ("train" in stages and cfg.tracking.log_model),
            "tracking.register needs the stage train and tracking.log_model=true: a model is "
            f"registered when it is sent. Received: {cfg.tracking.register}",
        ),
        (
            not re.fullmatch(r"[^/:.%\"'@]+", cfg.tracking.register or "none"),
            "tracking.register: a name has none of / : . % @ and quotes. "
            f"Received: {cfg.tracking.register}",
        ),
        (
            dataset.channels not in (1, 3),
            f"dataset.channels must be 1 (grey) or 3 (colour). Received: {dataset.channels}",
        ),
        (
            len(fractions) != 3 or min(fractions) < 0 or abs(sum(fractions) - 1) > 1e-6,
            f"dataset.fractions must be three shares (train, valid, test) that sum to 1. "
            f"Received: {fractions}",
        ),
        (
            not stages or len(set(stages)) < len(stages),
            f"stages must name one or more of {', '.join(Stage.__members__)}, each once. "
            f"Received: {stages}",
        ),
        (
            "train" not in stages and {"evaluate", "infer"} & {*stages} and cfg.checkpoint is None,
            f"checkpoint must name a trained model when stages ({', '.join(stages)}) leave out "
            "train: a .keras file, a run folder or an MLflow run id. Received: null",
        ),
        (
            cfg.objective not in objectives,
            f"objective must be one of {', '.join(objectives)} (a model is never chosen by its "
            f"test score). Received: {cfg.objective}",
        ),
        *(
            (
                not 0 <= seed < 2**32,
                f"{key} must be 0 or more and less than 2^32. Received: {seed}",
            )
            for key, seed in (("seed", cfg.seed), ("dataset.split_seed", dataset.split_seed))
        ),
        (
            dataset.fold is not None and not 0 <= dataset.fold < dataset.folds,
            f"dataset.fold must be one of the dataset.folds={dataset.folds} folds, counted from 0. "
            f"Received: {dataset.fold}",
        ),
        (
            dataset.folds < 2,
            f"dataset.folds must be 2 or more. Received: {dataset.folds}",
        ),
        (
            not 0 <= dataset.mask_threshold < 255,
            f"dataset.mask_threshold must be 0 or more and below 255. "
            f"Received: {dataset.mask_threshold:g}",
        ),
        *_wrong_labels(cfg),
        (
            dataset.spacing_mm is not None
            and (len(dataset.spacing_mm) != 3 or min(dataset.spacing_mm) <= 0),
            "dataset.spacing_mm must be null, or the distance of slices, rows and columns. "
            f"Received: {dataset.spacing_mm}",
        ),
        (
            dataset.surface_tolerance_mm < 0,
            "dataset.surface_tolerance_mm must be 0 or more. "
            f"Received: {dataset.surface_tolerance_mm}",
        ),
        *wrong_inference(cfg.infer),
        (
            dataset.empty_ratio is not None and dataset.empty_ratio < 0,
            f"dataset.empty_ratio must be 0 or more, or null. Received: {dataset.empty_ratio}",
        ),
        (
            dataset.download and dataset.source is not None,
            f"dataset.download=true fetches the source: leave out dataset.source={dataset.source}",
        ),
        (
            dataset.download and dataset.fetch is None,
            f"dataset.download: no program can fetch {dataset.name}; {how_to_get(dataset)}",
        ),
        (
            dataset.source is not None and not (dataset.source and dataset.raw and dataset.prepare),
            f"dataset.source={dataset.source}: needs a path, and a dataset whose YAML has raw and "
            "prepare; dataset.root=FOLDER reads images and masks",
        ),
        (
            trainer.jit_compile and trainer.deterministic,
            "trainer.jit_compile=true needs trainer.deterministic=false: Keras turns XLA off "
            "where sums must keep their order",
        ),
        (
            trainer.jit_compile and bool(re.fullmatch(r"cpu:([2-9]|[1-9]\d+)", trainer.devices)),
            "trainer.jit_compile=true needs trainer.devices=cpu or GPUs: TensorFlow has no XLA for "
            f"several virtual devices of a CPU. Received: {trainer.devices}",
        ),
        *_wrong_workers(trainer, stages),
        (
            trainer.workers is not None and cfg.sweep.job is not None,
            "trainer.workers must be null in a sweep, whose jobs train on one machine each. "
            f"Received: {trainer.workers}",
        ),
        (
            trainer.lr_factor is not None
            and OmegaConf.is_dict(OmegaConf.select(cfg, "optimizer.learning_rate")),
            "trainer.lr_factor must be null where optimizer.learning_rate is a schedule. "
            f"Received: {trainer.lr_factor}",
        ),
        (
            not re.fullmatch(r"auto|(cpu|gpu)(:[1-9]\d*)?", trainer.devices),
            f"trainer.devices must be auto, cpu, cpu:N, gpu or gpu:N. Received: {trainer.devices}",
        ),
        (
            bool(set(curves) & set(Scores.names())),
            f"metrics: a curve must not have the name of a reported score "
            f"({', '.join(Scores.names())}). Received: {', '.join(curves)}",
        ),
        (
            trainer.monitor not in monitored,
            f"trainer.monitor must be one of {', '.join(monitored)}. Received: {trainer.monitor}",
        ),
        *(
            (
                value is not None and value < least,
                f"{key} must be {least} or more. Received: {value}",
            )
            for key, least, value in (
                ("sweep.slots", 1, cfg.sweep.slots),
                ("trainer.epochs", 1, trainer.epochs),
                ("trainer.batch_size", 1, trainer.batch_size),
                ("trainer.steps_per_epoch", 1, trainer.steps_per_epoch),
                ("trainer.early_stop_patience", 1, trainer.early_stop_patience),
                ("trainer.lr_patience", 1, trainer.lr_patience),
                ("trainer.epoch_images", 0, trainer.epoch_images),
            )
        ),
        (
            trainer.lr_factor is not None and not 0 < trainer.lr_factor < 1,
            f"trainer.lr_factor must lie between 0 and 1, or be null. "
            f"Received: {trainer.lr_factor}",
        ),
    ]


def wrong_inference(infer: DictConfig) -> list[tuple[bool, str]]:
    """Check `infer`: of each key whether it is wrong, and the sentence that says so."""
    switches = ("fill_holes", "largest_component", "tta")
    numbers = (("threshold", "a number in 0..1", 1.0), ("min_size", "0 or more", float("inf")))
    return [
        *(
            (
                infer[key] not in ("auto", True, False) or type(infer[key]) not in (str, bool),
                f"infer.{key} must be auto, true or false. Received: {infer[key]}",
            )
            for key in switches
        ),
        *(
            (
                infer[key] != "auto"
                and (type(infer[key]) not in (int, float) or not 0 <= infer[key] <= most),
                f"infer.{key} must be auto, or {said}. Received: {infer[key]}",
            )
            for key, said, most in numbers
        ),
        (
            not 0 <= infer.overlap < 1,
            f"infer.overlap must be 0 or more and below 1. Received: {infer.overlap}",
        ),
    ]


def _wrong_workers(trainer: DictConfig, stages: list[str]) -> list[tuple[bool, str]]:
    """Check `trainer.workers`, and which of them this is."""
    workers, worker = trainer.workers, trainer.worker
    if workers is None:
        return [(worker is not None, f"trainer.worker={worker} needs trainer.workers")]
    several = 2 <= len(set(workers)) == len(workers)
    return [
        (
            not several or not all(re.fullmatch(r"[^\s/:]+:\d{1,5}", word) for word in workers),
            "trainer.workers must be null, or two or more HOST:PORT, the same list for each. "
            f"Received: {workers}",
        ),
        (
            worker not in range(len(workers)),
            f"trainer.worker must say which of {len(workers)} trainer.workers this is, counted "
            f"from 0. Received: {'null' if worker is None else worker}",
        ),
        (
            "train" not in stages or trainer.jit_compile or "cpu:" in trainer.devices,
            "trainer.workers needs the stage train, trainer.jit_compile=false, and not cpu:N. "
            f"Received: {', '.join(stages)}; {trainer.jit_compile}; {trainer.devices}",
        ),
    ]


def _curves(cfg: DictConfig) -> list[str]:
    return ["loss", *(metric.name for metric in (cfg.metrics or {}).values() if metric)]


def monitored_curves(cfg: DictConfig) -> list[str]:
    """Return the curves of training by which a run can be judged while it goes on."""
    return [f"{side}/{curve}" for side in ("val", "train") for curve in _curves(cfg)]


def _wrong_labels(cfg: DictConfig) -> list[tuple[bool, str]]:
    """Check `dataset.labels`, whose names become columns and scores: test/dice_NAME_ci_low."""
    dataset = cfg.dataset
    given = dataset.labels
    if given is not None and not (OmegaConf.is_dict(given) and 1 <= len(given) <= 254):
        sentence = "dataset.labels must be null, or {NAME: VALUE, ...} of 1 to 254 classes."
        return [(True, f"{sentence} Received: {given}")]
    labels = dict(given or {})
    values = [*labels.values()]
    taken = {"sd", "ci_low", "ci_high", "median", "undefined"}
    merged = OmegaConf.select(cfg, "dataset.prepare.merge_labels")
    return [
        *(
            (
                not str(name).isidentifier()
                or name in taken
                or name.endswith(("_ci_low", "_ci_high")),
                "dataset.labels: a name is a word of letters, digits and _, but not "
                f"{', '.join(sorted(taken))}. Received: {name}",
            )
            for name in labels
        ),
        (
            not all(type(value) is int and 0 < value < 2**16 for value in values)
            or len(set(values)) < len(values),
            "dataset.labels: values must be whole numbers in 1..65535, no two the same. "
            f"Received: {labels}",
        ),
        (
            merged is False and not labels,
            "dataset.prepare.merge_labels=false needs the names of the values that masks keep: "
            "dataset.labels={NAME: VALUE, ...}. Received: null",
        ),
        (
            merged is True
            and values not in ([], [255])
            and (dataset.source is not None or dataset.download),
            "dataset.labels needs dataset.prepare.merge_labels=false, or prepared masks are 0 and "
            f"255. Received: {labels}",
        ),
    ]
