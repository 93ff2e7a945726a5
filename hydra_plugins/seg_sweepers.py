"""What `-m` does: a grid of values, or a search. Hydra finds sweepers in this namespace only."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.core.plugins import Plugins
from hydra.plugins.launcher import Launcher
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf

from seg.contracts import SegError
from seg.jobs import slots


class Grid(Sweeper):
    """Every combination of the values.

    Args:
        params: by key the values, as they are typed: `a,b`, choice(a,b), range(3), glob(*).
    """

    def __init__(self, params: dict[str, str] | None = None) -> None:
        """Wait for `setup`."""
        self.params = params or {}

    def setup(
        self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig
    ) -> None:
        """Take over what Hydra has composed, and its launcher."""
        if "n_jobs" in config.hydra.launcher:  # joblib's, whose default is one job for each core
            given = config.hydra.launcher.n_jobs
            config.hydra.launcher.n_jobs = config.sweep.slots or slots.at_once(given)
        how = {"hydra_context": hydra_context, "task_function": task_function, "config": config}
        self.launcher: Launcher = Plugins.instance().instantiate_launcher(**how)
        self.config, self.loader = config, hydra_context.config_loader

    def sweep(self, arguments: list[str]) -> None:
        """Run the jobs that have not ended."""
        from seg import sweep

        fixed, swept = self.parsed(arguments)
        jobs = [list(job) for job in product(*map(_values, swept))]
        for job in jobs:  # whatever can be refused is refused before the first is run
            self.check([*fixed, *job])
        with sweep.begun(self.config, _said(swept), jobs, self.launch(fixed)) as begun:
            begun.run(begun.missing())

    def parsed(self, arguments: list[str]) -> tuple[list[str], list[Override]]:
        """Return the words that all jobs share, and those that say what is swept.

        They are those of `params` and those given, which win.
        """
        parser = OverridesParser.create(config_loader=self.loader)
        params = [f"{key}={value}" for key, value in self.params.items()]
        parsed = parser.parse_overrides([*params, *arguments])
        last = {word.get_key_element(): word for word in parsed}
        swept = [word for word in last.values() if word.is_sweep_override()]
        if "objective" in last and last["objective"] in swept:
            raise SegError("objective: jobs of one sweep are judged by one score; name it")
        return [word.input_line for word in last.values() if word not in swept], swept

    def check(self, job: list[str]) -> None:
        """Refuse a job whose config is wrong."""
        from seg.config import validate

        composed = self.loader.load_sweep_config(self.config, [*job, "sweep.job=0"])
        validate(OmegaConf.masked_copy(composed, [key for key in composed if key != "hydra"]))

    def launch(self, fixed: list[str]) -> Callable[[list[list[str]]], Any]:
        """Return what has the launcher run jobs, given as what they do not share."""
        return lambda jobs: self.launcher.launch([[*fixed, *job] for job in jobs], 0)


class Search(Grid):
    """Trials of an Optuna study.

    Args:
        params: by key what is searched, as it is typed, see `seg.jobs.study.space`.
        trials: how many in all.
        batch: how many are begun together.
        storage: address of Optuna's storage.
        sampler: as a config, since each trial has one.
        pruner: as a config, since each job has one.
        prune_on: curve that the pruner judges.
    """

    def __init__(
        self,
        params: dict[str, str] | None,
        trials: int,
        batch: int,
        storage: str,
        sampler: DictConfig,
        pruner: DictConfig | None,
        prune_on: str,
    ) -> None:
        """Wait for `setup`; what the jobs need they find in the config."""
        super().__init__(params)
        self.trials, self.batch, self.storage = trials, batch, storage
        self.sampler, self.pruner, self.prune_on = sampler, pruner, prune_on

    def sweep(self, arguments: list[str]) -> None:
        """Run the trials that have not ended."""
        from seg import sweep
        from seg.jobs.study import Study, space

        fixed, swept = self.parsed(arguments)
        searched = space(swept)
        self.check(fixed)
        self.check_search()
        with sweep.begun(self.config, _said(swept), [], self.launch(fixed)) as begun:
            study = Study(begun.name, self.storage, searched, self._sampler, self.config.seed)
            begun.search(study, self.trials, self.batch)

    def _sampler(self, seed: int) -> Any:  # noqa: ANN401
        from seg.build import build

        return build("hydra.sweeper.sampler", self.sampler, seed=seed)

    def check_search(self) -> None:
        """Refuse what no trial could use."""
        from seg.build import build
        from seg.config import monitored_curves

        for key in ("trials", "batch"):
            if getattr(self, key) < 1:
                raise SegError(
                    f"hydra.sweeper.{key} must be 1 or more. Received: {getattr(self, key)}"
                )
        self._sampler(0)
        if self.pruner:
            build("hydra.sweeper.pruner", self.pruner)
            curves = monitored_curves(self.config)
            if self.prune_on not in curves:
                raise SegError(
                    f"hydra.sweeper.prune_on must be one of {', '.join(curves)}. "
                    f"Received: {self.prune_on}"
                )


def _said(swept: list[Override]) -> dict[str, str]:
    """Return by key over what it is swept."""
    return {word.get_key_element().lstrip("+"): word.input_line.partition("=")[2] for word in swept}


def _values(word: Override) -> list[str]:
    """Return the words that a word stands for."""
    if not word.is_discrete_sweep():
        raise SegError(f"{word.input_line}: a grid needs values; hydra/sweeper=optuna searches")
    return [f"{word.get_key_element()}={value}" for value in word.sweep_string_iterator()]
