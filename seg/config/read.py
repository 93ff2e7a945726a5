"""What a config says, in other words than its own."""

from __future__ import annotations

from pathlib import Path

from omegaconf import DictConfig, OmegaConf

from seg.contracts import Classes, SegError


def conf_dir() -> str:
    """Return the absolute folder of the YAML files, in a checkout or in an installed wheel."""
    inside = Path(__file__).parents[1] / "conf"
    return str(inside if inside.is_dir() else Path(__file__).parents[2] / "conf")


def classes(cfg: DictConfig) -> Classes:
    """Return what the pixels of the dataset's masks say."""
    labels = dict(cfg.dataset.labels or {})
    # By value, or who types the names in another order would swap what a checkpoint has learned.
    return Classes(cfg.dataset.mask_threshold, dict(sorted(labels.items(), key=lambda x: x[1])))


def how_to_get(dataset: DictConfig) -> str:
    """Say in words how a dataset comes into a run."""
    about = dataset.about
    itself = " (or dataset.download=true, which does both)" if dataset.fetch else ""
    raw = f"download {about.files} from {about.address} and give dataset.source=PATH{itself}; "
    return (
        raw if dataset.raw and about.address else ""
    ) + "dataset.root=FOLDER reads image/mask folders, dataset=phantom needs no data"


def image_size(cfg: DictConfig) -> tuple[int, int]:
    """Return `dataset.image_size` as (height, width).

    Raises:
        SegError: it is neither a positive number nor two of them.
    """
    value = cfg.dataset.image_size
    sides = [value, value] if isinstance(value, int) else value
    if not OmegaConf.is_list(sides) and not isinstance(sides, list):
        sides = []
    if len(sides) != 2 or not all(isinstance(side, int) and side > 0 for side in sides):
        raise SegError(
            f"dataset.image_size must be a number of pixels, or [height, width]. Received: {value}"
        )
    return sides[0], sides[1]
