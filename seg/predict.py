"""Masks of new images: `python -m seg.predict model=RUN input=PATH output=PATH`."""

from __future__ import annotations

import csv
import logging
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING

import hydra
from hydra.core.config_store import ConfigStore
from omegaconf import DictConfig, OmegaConf
from rich.progress import MofNCompleteColumn

from seg import parts, run, runfolder
from seg.config import conf_dir, validate_prediction
from seg.contracts import SegError

if TYPE_CHECKING:
    from seg.infer.inputs import Input
    from seg.infer.members import Member
    from seg.infer.outputs import Wanted

log = logging.getLogger(__name__)

COLUMNS = ("input", "mask", "slices", "target_px", "target_ml", "problem")


@hydra.main(version_base="1.3", config_path=None, config_name="predict")
def main(cfg: DictConfig) -> None:
    """Validate, predict file by file, print the folder."""
    cfg = validate_prediction(cfg)
    out = Path(cfg.output)
    # The log of an earlier try, which was refused, is no result.
    if out.is_file() or (out.is_dir() and any(file.name != "run.log" for file in out.iterdir())):
        raise SegError(f"output: {out} is not empty; name a new folder")
    if out.resolve().is_relative_to(Path(cfg.input).expanduser().resolve()):
        raise SegError(f"output: {out} lies in the input, {cfg.input}; name a folder elsewhere")
    out.mkdir(parents=True, exist_ok=True)
    with runfolder.logged(out):
        n_bad = predict(cfg, out)
    sys.stdout.write(f"{out}\n")
    if n_bad:
        sys.exit(1)


def predict(cfg: DictConfig, out: Path) -> int:
    """Predict all files that are found; what cannot be is listed, and the others go on.

    Args:
        cfg: as `seg.config.validate_prediction` returns it.
        out: receives masks/, overlays/ and probabilities/, and what tells them: predictions.csv,
            models.json, provenance.json.

    Returns:
        How many files could not be predicted.

    Raises:
        SegError: there is no file, or a model cannot be used.
    """
    # Imported here, so that --help answers without TensorFlow.
    with runfolder.stderr_to(out / "run.log"):
        from seg.data.progress import progress
        from seg.figures.pictures import Style
        from seg.infer import inputs
        from seg.infer.outputs import Wanted

    style, kinds = Style(**OmegaConf.to_container(cfg.overlay)), {each.name for each in cfg.write}
    sources, problems = inputs.find(Path(cfg.input).expanduser())
    members = _members(cfg, out)
    if not all(
        source.is_volume or m.alone == m.manual.cleanup for source in sources for m in members
    ):
        log.info("pictures: masks are not cleaned, since that was chosen on stacks of slices")
    bar = progress(MofNCompleteColumn())
    with (out / "predictions.csv").open("w", newline="") as file, bar:
        task = bar.add_task("predicting", total=len(sources))
        table = csv.DictWriter(file, COLUMNS)
        table.writeheader()
        table.writerows(_refused(problems))
        for batch in inputs.batches(sources, cfg.batch_size):
            rows, bad = _predicted(batch, members, Wanted(out, kinds, style))
            table.writerows([*rows, *_refused(bad)])
            file.flush()
            problems |= bad
            bar.advance(task, len(batch))
    for path, problem in problems.items():
        log.warning("%s: %s", path, problem)
    n_good = len(sources) - len(problems.keys() & {source.path for source in sources})
    log.info("%d of %d files are predicted", n_good, n_good + len(problems))
    return len(problems)


def _refused(problems: Mapping[Path, str]) -> list[dict[str, object]]:
    return [{"input": path, "problem": why} for path, why in problems.items()]


def _predicted(
    batch: Sequence[Input], members: Sequence[Member], wanted: Wanted
) -> tuple[list[dict[str, object]], dict[Path, str]]:
    """Return the rows of files that could be predicted, and what is wrong with the others."""
    from seg.infer import inputs, outputs

    loaded, problems = inputs.load_all(batch, members[0].manual)
    try:
        rows = outputs.predict(loaded, members, wanted)
    except (SegError, OSError, ValueError, MemoryError) as error:
        if len(loaded) == 1:
            path = loaded[0][0].path
            return [], problems | {path: str(error).removeprefix(f"{path}: ")}
        each = [_predicted([source], members, wanted) for source, _ in loaded]
        return (
            [row for rows, _ in each for row in rows],
            problems | {path: why for _, bad in each for path, why in bad.items()},
        )
    paired = zip(loaded, rows, strict=True)
    return [{"input": source.path, **row} for (source, _), row in paired], problems


def _members(cfg: DictConfig, out: Path) -> list[Member]:
    """Load the models, and leave beside the masks which they are and how they were used."""
    with runfolder.stderr_to(out / "run.log"):
        from seg import reproduce
        from seg.data.prepared import sha256
        from seg.infer import settings
        from seg.infer.members import Member, agreed
        from seg.models import manual, saved
        from seg.models.manual import Cleanup
        from seg.track import find

    infer, members, about = OmegaConf.to_object(cfg.infer), [], []
    uri = find.chosen(cfg.uri, Path(cfg.outputs))
    for given in cfg.model if OmegaConf.is_list(cfg.model) else [cfg.model]:
        with tempfile.TemporaryDirectory() as folder, runfolder.stderr_to(out / "run.log"):
            try:
                file = parts.find_checkpoint(str(given), uri, Path(folder))
                known, model = manual.read(file), saved.load(file)
            except SegError as error:
                raise SegError(str(error).replace("checkpoint:", "model:", 1)) from error
            digest = sha256(file)
        if known is None:
            raise SegError(
                f"model: {given} does not say how it is used, as models do that this version of "
                "seg has trained; python -m seg.run 'stages=[infer]' checkpoint=... predicts a "
                "dataset with it"
            )
        told = settings.told(known, infer)
        # What was chosen on stacks of slices would, of a single one, take another's place.
        bare = replace(known, cleanup=Cleanup()) if known.stacked else known
        alone = settings.told(bare, infer).cleanup
        members.append(Member(model, told, settings.views(told, infer, cfg.batch_size), alone))
        about.append({"model": str(given), "sha256": digest, **asdict(told)})
        log.info("%s: %s", given, told.said())
    agreed(members)
    runfolder.write_json(out / "models.json", {"models": about})
    reproduce.provenance(out, sys.argv[1:])
    return members


def register() -> None:
    """Make the YAML files known to Hydra, not their folder: in it model= is a choice of model/."""
    node = OmegaConf.load(Path(conf_dir(), "predict.yaml"))
    for group in ("infer", "overlay"):
        node[group] = OmegaConf.load(Path(conf_dir(), group, "default.yaml"))
    ConfigStore.instance().store(name="predict", node=node)


if __name__ == "__main__":
    register()
    run.talk()
    main()
