"""A trial of a search that stops where others did better after as many epochs."""

from __future__ import annotations

import keras
import optuna
from optuna.trial import Trial

from seg.contracts import Pruned


class Prune(keras.callbacks.Callback):
    """Tell a search how a trial goes, and stop it where that has no hope for it.

    Args:
        study: its name.
        url: of Optuna's storage.
        trial: the number.
        pruner: that judges.
        curve: which it judges, as Keras calls it; of a loss, the less the better.
    """

    def __init__(
        self, study: str, url: str, trial: int, pruner: optuna.pruners.BasePruner, curve: str
    ) -> None:
        """Find the trial."""
        super().__init__()
        loaded = optuna.load_study(study_name=study, storage=url, pruner=pruner)
        known = loaded.get_trials(deepcopy=False)[trial]
        self._trial, self._curve = Trial(loaded, known._trial_id), curve
        self._said = known.last_step or 0  # by a process that was killed

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        """Tell the study, and raise `Pruned` where it sees no hope."""
        value = float(logs[self._curve])
        if epoch + 1 > self._said:
            self._trial.report(-value if "loss" in self._curve else value, epoch + 1)
        if epoch + 1 >= self._said and self._trial.should_prune():
            raise Pruned(epoch + 1, value)
