"""Optuna's study of a search: which values are tried next."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import optuna
from hydra.core.override_parser.types import (
    IntervalSweep,
    Override,
    RangeSweep,
    Sweep,
)
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.trial import Trial, TrialState

from seg.contracts import SegError
from seg.jobs import record
from seg.jobs.record import Record

STATES = {
    record.FINISHED: TrialState.COMPLETE,
    record.PRUNED: TrialState.PRUNED,
    record.FAILED: TrialState.FAIL,
}
Sampler = Callable[[int], optuna.samplers.BaseSampler]

optuna.logging.set_verbosity(optuna.logging.WARNING)
logging.getLogger("alembic").setLevel(logging.WARNING)


def space(searched: Sequence[Override]) -> dict[str, BaseDistribution]:
    """Return what each key is searched over, in Hydra's words for it.

    choice(a,b) is one of these; range(1,9) and range(1,9,2) a number below 9 in such steps;
    interval(0.1,1) a number between; int(interval(1,8)) a whole one. tag(log,interval(1e-5,1e-2))
    is drawn on a logarithmic scale.

    Raises:
        SegError: a word has no such meaning.
    """
    found = {override.get_key_element(): _distribution(override) for override in searched}
    if not found:
        raise SegError(
            "hydra/sweeper=optuna: nothing is searched; name values, as "
            "'optimizer.learning_rate=tag(log,interval(1e-4,1e-2))' or 'loss=choice(dice,bce)'"
        )
    return found


def _distribution(override: Override) -> BaseDistribution:
    sweep = override.value()
    log = isinstance(sweep, Sweep) and "log" in sweep.tags
    try:
        if isinstance(sweep, IntervalSweep):
            kind = IntDistribution if isinstance(sweep.start, int) else FloatDistribution
            return kind(sweep.start, sweep.end, log=log)
        if isinstance(sweep, RangeSweep):
            kind = IntDistribution if isinstance(sweep.start, int) else FloatDistribution
            steps = math.ceil((sweep.stop - sweep.start) / sweep.step) - 1
            # Optuna's ranges end with their last value.
            last = sweep.start + steps * sweep.step
            return kind(sweep.start, last, log=log, step=sweep.step)
        return CategoricalDistribution([*override.sweep_string_iterator()])
    except ValueError as error:
        raise SegError(f"{override.input_line}: {error}") from error


class Study:
    """A search that any process can go on with.

    Args:
        name: of the study.
        url: of Optuna's storage, as sqlite:////FILE.
        distributions: what is searched.
        sampler: from a seed to an Optuna sampler. Each trial has one of its own, so that a search
            that was interrupted goes on as it would have gone.
        seed: of the first trial's.
    """

    def __init__(
        self,
        name: str,
        url: str,
        distributions: Mapping[str, BaseDistribution],
        sampler: Sampler,
        seed: int,
    ) -> None:
        """Open the study, or make it."""
        self._study = optuna.create_study(
            study_name=name, storage=url, direction="maximize", load_if_exists=True
        )
        self._distributions, self._sampler, self._seed = distributions, sampler, seed

    def asked(self) -> list[Trial]:
        """Return the trials that were asked for and never told: of a process that was killed."""
        frozen = self._study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
        return [self._trial(one.number, one._trial_id) for one in frozen]

    def ask(self) -> Trial:
        """Begin the next trial."""
        return self._trial(self.count())

    def count(self) -> int:
        """Return how many trials were begun."""
        return len(self._study.get_trials(deepcopy=False))

    def words(self, trial: Trial) -> list[str]:
        """Return a trial's values as words of a command line; they are drawn where they are not."""
        drawn = {key: _drawn(trial, key, of) for key, of in self._distributions.items()}
        return [f"{key}={value}" for key, value in drawn.items()]

    def _trial(self, number: int, known: int | None = None) -> Trial:
        seeds = np.random.SeedSequence([self._seed, number])
        self._study.sampler = self._sampler(int(seeds.generate_state(1)[0]))
        return self._study.ask() if known is None else Trial(self._study, known)

    def tell(self, trial: Trial, ended: Record) -> None:
        """Say how a trial ended; one without an objective has failed."""
        state, value = STATES[ended.state], ended.objective
        if state == TrialState.COMPLETE and math.isnan(value):
            state = TrialState.FAIL
        given = value if state == TrialState.COMPLETE else None
        self._study.tell(trial, given, state)


def _drawn(trial: Trial, key: str, of: BaseDistribution) -> str | int | float:
    if isinstance(of, CategoricalDistribution):
        return trial.suggest_categorical(key, of.choices)
    suggest = trial.suggest_int if isinstance(of, IntDistribution) else trial.suggest_float
    return suggest(key, of.low, of.high, step=of.step, log=of.log)
