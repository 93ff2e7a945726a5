"""The callback that stops a trial, on real Keras models and a real study."""

import keras
import numpy as np
import optuna
import pytest

from seg.contracts import Pruned
from seg.jobs.prune import Prune


class Curve(keras.callbacks.Callback):
    """Say a curve of given values, as metrics do."""

    def __init__(self, values):
        super().__init__()
        self.values = values

    def on_epoch_end(self, epoch, logs=None):
        logs["val_dice_coef"], logs["val_loss"] = self.values[epoch], 1 - self.values[epoch]


@pytest.fixture
def trained(tmp_path):
    """Train a trial of a study whose curve has given values: values, curve -> its number."""
    url = f"sqlite:///{tmp_path}/study.db"
    study = optuna.create_study(study_name="s", storage=url, direction="maximize")
    pruner = optuna.pruners.MedianPruner(n_startup_trials=2, n_warmup_steps=2)
    model = keras.Sequential([keras.layers.Input((1,)), keras.layers.Dense(1)])
    model.compile(loss="mse")

    def train(values, curve="val_dice_coef", trial=None):
        trial = trial if trial is not None else study.ask().number
        callbacks = [Curve(values), Prune("s", url, trial, pruner, curve)]
        x = np.zeros((2, 1), "float32")
        model.fit(x, x, epochs=len(values), callbacks=callbacks, verbose=0)
        study.tell(trial, values[-1])
        return study.trials[trial]

    return train


@pytest.mark.parametrize("curve", ["val_dice_coef", "val_loss"])
def test_a_trial_below_the_median_of_the_others_is_stopped_after_the_warm_up(trained, curve):
    trained([0.2, 0.4, 0.6, 0.8], curve)
    trained([0.2, 0.3, 0.5, 0.7], curve)
    assert len(trained([0.1, 0.5, 0.6, 0.8], curve).intermediate_values) == 4
    with pytest.raises(Pruned, match=r"^after epoch 3, at 0\.\d000$") as raised:
        trained([0.3, 0.5, 0.1, 0.9], curve)
    assert raised.value.epoch == 3


def test_a_trial_that_begins_again_is_not_judged_by_its_first_life(trained, tmp_path, recwarn):
    trained([0.2, 0.3, 0.4, 0.5])
    trained([0.2, 0.3, 0.4, 0.5])
    url = f"sqlite:///{tmp_path}/study.db"
    trial = optuna.load_study(study_name="s", storage=url).ask()
    for epoch, value in ((1, 0.2), (2, 0.3), (3, 0.1)):
        trial.report(value, epoch)  # at epoch 3 it was killed, before it was judged
    with pytest.raises(Pruned, match="^after epoch 3, at 0.1000$"):
        trained([0.2, 0.3, 0.1, 0.9], trial=trial.number)
    assert not [one for one in recwarn if "reported" in str(one.message)]
