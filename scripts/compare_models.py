"""Draw the validation Dice of runs against their training time and size, from MLflow's store.

Usage: python scripts/compare_models.py EXPERIMENT PICTURE.png [STORE]

EXPERIMENT is the name in MLflow (a dataset's, unless tracking.experiment says otherwise), STORE a
tracking URI (sqlite:///outputs/mlflow.db unless given). Of each model the newest finished run is
taken. The table goes to standard output.
"""

from __future__ import annotations

import sys
from pathlib import Path

import mlflow
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure


def runs(experiment: str, store: str) -> pd.DataFrame:
    """Return a row per model: parameters, epochs, seconds of training, best validation Dice."""
    mlflow.set_tracking_uri(store)
    client = mlflow.MlflowClient()
    newest = {}
    for run in mlflow.search_runs(
        experiment_names=[experiment],
        filter_string="attributes.status = 'FINISHED'",
        order_by=["attributes.start_time DESC"],
        output_format="list",
    ):
        if "val/dice" in run.data.metrics and "epoch/s" in run.data.metrics:
            newest.setdefault(run.data.params["model"], run)
    rows = [
        {
            "model": name,
            "parameters": int(run.data.params["parameters"]),
            "epochs": len(epochs := client.get_metric_history(run.info.run_id, "epoch/s")),
            "seconds": sum(epoch.value for epoch in epochs),
            "images/s": run.data.metrics["train/images_per_s"],
            "val/dice": run.data.metrics["val/dice"],
            "low": run.data.metrics.get("val/dice_ci_low"),
            "high": run.data.metrics.get("val/dice_ci_high"),
        }
        for name, run in newest.items()
    ]
    if not rows:
        raise SystemExit(f"{store}: no finished run of {experiment} with val/dice")
    return pd.DataFrame(rows).sort_values("val/dice", ascending=False)


def draw(table: pd.DataFrame, picture: Path) -> None:
    """Set Dice against seconds beside Dice against parameters, each point named."""
    figure = Figure(figsize=(12, 5), layout="constrained")
    seconds, parameters = figure.subplots(1, 2, sharey=True)
    _points(seconds, table, "seconds", "training and validation, seconds")
    _points(parameters, table, "parameters", "parameters")
    seconds.set_ylabel("validation Dice per case, mean and 95% interval")
    figure.savefig(picture, dpi=100)


def _points(axes: Axes, table: pd.DataFrame, column: str, label: str) -> None:
    spread = [table["val/dice"] - table["low"], table["high"] - table["val/dice"]]
    axes.errorbar(table[column], table["val/dice"], spread, fmt="o", elinewidth=0.6, alpha=0.8)
    for place, (_, row) in enumerate(table.iterrows()):
        above = place % 2 == 0
        axes.annotate(
            row["model"],
            (row[column], row["val/dice"]),
            textcoords="offset points",
            xytext=(5, 4 if above else -11),
            fontsize=9,
        )
    axes.set(xscale="log", xlabel=label)
    axes.margins(x=0.15)
    axes.grid(alpha=0.3)


if __name__ == "__main__":
    if len(sys.argv) not in (3, 4):
        raise SystemExit(__doc__)
    found = runs(sys.argv[1], (sys.argv[3:] or ["sqlite:///outputs/mlflow.db"])[0])
    draw(found, Path(sys.argv[2]))
    sys.stdout.write(found.to_string(index=False, float_format="{:.3f}".format) + "\n")
