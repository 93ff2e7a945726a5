"""The bookkeeping of a sweep, with a real store; and a sweep of real processes that is killed."""

import contextlib
import math
import os
import re
import signal
import subprocess
import sys
import time

import mlflow
import optuna
import pandas as pd
import pytest
from hydra import compose, initialize_config_dir
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import OmegaConf
from optuna.trial import TrialState

from seg import resume, sweep
from seg.config import conf_dir
from seg.contracts import SegError
from seg.jobs import record
from seg.jobs.record import Record
from seg.jobs.study import Study, space
from seg.track import find
from seg.track.run import Target, start

QUICK = ["stages=[train]", "tracking.log_model=false", "trainer.epoch_images=0"]
PARAMS = {"loss": "dice,bce", "seed": "0,1"}
JOBS = [[f"loss={loss}", f"seed={seed}"] for loss in ("dice", "bce") for seed in (0, 1)]


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["seg.run", "-m", "loss=dice,bce", "seed=0,1"])
    return tmp_path


@pytest.fixture
def config(home):
    """What Hydra gives a sweeper: overrides -> config."""

    def composed(*overrides):
        words = [f"paths.outputs={home}", f"hydra.sweep.dir={home}/sweeps/s", *overrides]
        with initialize_config_dir(conf_dir(), version_base="1.3"):
            return compose("config", words, return_hydra_config=True)

    return composed


class Jobs:
    """Run jobs without training: each is a run in the store and a record, as real ones are."""

    def __init__(self, home, values):
        self.home, self.values, self.ran = home, dict(enumerate(values)), []

    def __call__(self, jobs):
        for words in jobs:
            number = int(words[-1].removeprefix("sweep.job="))
            self.ran.append(number)
            value = self.values[number]
            if value is KeyboardInterrupt:
                raise KeyboardInterrupt
            self.run(number, words[:-1], value)

    def run(self, number, words, value, cut_off=False):
        folder = self.home / "runs" / f"r{number}-{len(self.ran)}"
        folder.mkdir(parents=True)
        (folder / "history.csv").write_text("epoch\n1\n2\n")
        at = self.home / "sweeps" / "s"
        begun = Record(number, tuple(words), folder=str(folder))
        target = Target(find.default_uri(self.home), "phantom", self.home, resume.identity(at))
        record.write(at, begun)
        try:
            with start(folder, target, f"job {number}", {"sweep.job": str(number)}) as run:
                if isinstance(value, Exception):
                    record.write(at, begun.ends(record.FAILED, said=str(value)))
                    raise value
                scores = {"val/dice": value, "val/dice_ci_low": value - 0.1, "best/epoch": 2}
                run.metrics({"val/dice": value})
                ended = begun.ends(record.FINISHED, objective=value, scores=scores)
                record.write(at, ended)
                if cut_off:
                    run._sender.close()
                    run.journal.close()
                    run._begun = False
        except ValueError:
            pass


def parent_and_children(home):
    client = mlflow.MlflowClient(find.default_uri(home))
    found = client.search_runs(["1"], order_by=["attributes.start_time"])
    parents = [run for run in found if "mlflow.parentRunId" not in run.data.tags]
    assert len(parents) == 1
    assert {run.data.tags["mlflow.parentRunId"] for run in found if run not in parents} <= {
        parents[0].info.run_id
    }
    return client, parents[0], [run for run in found if run not in parents]


def test_a_sweep_has_a_parent_with_its_command_table_figures_and_best_child(config, home):
    jobs = Jobs(home, [0.3, 0.5, math.nan, 0.4])
    with sweep.begun(config(), PARAMS, JOBS, jobs) as begun:
        ended = begun.run(begun.missing())
    assert [one.objective for one in ended[:2]] == [0.3, 0.5]
    table = pd.read_csv(home / "sweeps/s/results.csv")
    assert list(table["job"]) == [1, 3, 0, 2]
    assert list(table["loss"]) == ["dice", "bce", "dice", "bce"]
    assert list(table["val/dice"][:3]) == [0.5, 0.4, 0.3]
    assert list(table["val/dice_ci_low"][:3]) == [0.4, pytest.approx(0.3), pytest.approx(0.2)]
    assert list(table["epochs"]) == [2] * 4
    client, parent, children = parent_and_children(home)
    assert parent.info.status == "FINISHED"
    assert parent.info.run_name == "sweep s"
    assert parent.data.params == PARAMS
    by_job = {run.data.tags["sweep.job"]: run.info.run_id for run in children}
    assert list(table["run_id"]) == [by_job[str(job)] for job in (1, 3, 0, 2)]
    tags = parent.data.tags
    assert tags["best.run_id"] == by_job["1"]
    assert tags["best.val/dice"] == "0.500000"
    assert tags["mlflow.source.name"] == "python -m seg.run -m loss=dice,bce seed=0,1"
    assert "| 1 | dice | 1 | 0.500" in tags["mlflow.note.content"]
    sent = {file.path for file in client.list_artifacts(parent.info.run_id)}
    assert {"results.csv", "report.md", "figures", "sweep.json", "provenance.json"} <= sent
    assert "state" not in sent
    figures = {file.path for file in client.list_artifacts(parent.info.run_id, "figures")}
    assert figures == {"figures/bars.png", "figures/parallel.png"}


def test_a_failed_job_is_a_failed_child_and_the_others_go_on(config, home):
    jobs = Jobs(home, [0.3, ValueError("of its own"), 0.5, 0.4])
    with (
        pytest.raises(
            SegError, match=r"^1 of 4 jobs failed, see .*results\.csv; sweep\.resume=/.*/s "
        ),
        sweep.begun(config(), PARAMS, JOBS, jobs) as begun,
    ):
        begun.run(begun.missing())
    client, parent, children = parent_and_children(home)
    assert [run.info.status for run in children] == ["FINISHED", "FAILED", "FINISHED", "FINISHED"]
    assert parent.info.status == "FINISHED"
    assert parent.data.tags["jobs"] == "3 finished, 1 failed"
    assert "traceback.txt" in {file.path for file in client.list_artifacts(children[1].info.run_id)}
    table = pd.read_csv(home / "sweeps/s/results.csv")
    assert list(table["state"]) == ["finished"] * 3 + ["failed"]
    assert table["said"].iloc[-1] == "of its own"


def test_an_interrupted_sweep_is_killed_and_goes_on_with_what_is_missing(config, home):
    with (
        pytest.raises(KeyboardInterrupt),
        sweep.begun(config(), PARAMS, JOBS, Jobs(home, [0.3, KeyboardInterrupt])) as begun,
    ):
        begun.run(begun.missing())
    _, parent, _ = parent_and_children(home)
    assert parent.info.status == "KILLED"
    assert parent.data.tags["jobs"] == "1 finished"
    with (
        pytest.raises(SegError, match=r"holds a sweep; sweep\.resume=.*s goes on"),
        sweep.begun(config(), PARAMS, JOBS, Jobs(home, [])),
    ):
        pass
    jobs = Jobs(home, [None, 0.2, 0.6, 0.1])
    with sweep.begun(config("sweep.resume=s"), PARAMS, [["loss=other"]], jobs) as begun:
        begun.run(begun.missing())
    assert jobs.ran == [1, 2, 3]
    _, again, children = parent_and_children(home)
    assert again.info.run_id == parent.info.run_id
    assert again.info.status == "FINISHED"
    assert again.data.tags["jobs"] == "4 finished"
    assert len(children) == 4
    assert again.data.tags["best.val/dice"] == "0.600000"


def test_failed_jobs_are_run_again_on_request_only(config, home):
    failing = Jobs(home, [0.3, ValueError("no"), 0.5, 0.4])
    with pytest.raises(SegError), sweep.begun(config(), PARAMS, JOBS, failing) as begun:
        begun.run(begun.missing())
    jobs = Jobs(home, [])
    with (
        pytest.raises(SegError, match=r"^1 of 4 jobs failed"),
        sweep.begun(config("sweep.resume=s"), PARAMS, JOBS, jobs) as begun,
    ):
        assert begun.missing() == {}
    _, _, children = parent_and_children(home)
    assert [run.info.status for run in children] == ["FINISHED", "FAILED", "FINISHED", "FINISHED"]
    jobs = Jobs(home, [None, 0.9])
    again = config("sweep.resume=s", "sweep.retry=true")
    with sweep.begun(again, PARAMS, JOBS, jobs) as begun:
        begun.run(begun.missing())
    assert jobs.ran == [1]
    client = mlflow.MlflowClient(find.default_uri(home))
    found = client.search_runs(["1"], "tags.`mlflow.parentRunId` != ''")
    assert [run.info.status for run in found] == ["FINISHED"] * 4, "the failed run is taken apart"
    assert pd.read_csv(home / "sweeps/s/results.csv")["job"].iloc[0] == 1


def test_a_run_whose_process_was_killed_after_its_record_ends_as_the_record_says(config, home):
    def launch(jobs):
        Jobs(home, []).run(0, JOBS[0], 0.7, cut_off=True)
        raise KeyboardInterrupt

    with (
        pytest.raises(KeyboardInterrupt),
        sweep.begun(config(), PARAMS, JOBS[:1], launch) as begun,
    ):
        begun.run(begun.missing())
    (child,) = parent_and_children(home)[2]
    assert child.info.status == "RUNNING"
    with sweep.begun(config("sweep.resume=s"), PARAMS, JOBS[:1], launch) as begun:
        assert begun.missing() == {}
    (child,) = parent_and_children(home)[2]
    assert child.info.status == "FINISHED"


def test_a_table_is_made_of_whatever_jobs_leave(config, home):
    """Words that delete or add a key; a history that was being written."""
    jobs = [["+mine.key=1", "~metrics.dice"], ["+mine.key=2", "~metrics.dice"]]
    with sweep.begun(config(), {"mine.key": "1,2"}, jobs, Jobs(home, [0.3, 0.4])) as begun:
        begun.run(begun.missing())
        next(home.glob("runs/r0*/history.csv")).write_text("")
    table = pd.read_csv(home / "sweeps/s/results.csv")
    assert list(table["mine.key"]) == [2, 1]
    assert list(table["epochs"]) == [2, 0]
    assert parent_and_children(home)[1].data.params == {"mine.key": "1,2"}


def test_a_run_that_cannot_be_ended_does_not_hold_up_the_sweep(config, home):
    def launch(jobs):
        Jobs(home, []).run(0, JOBS[0], 0.7)
        folder = home / "runs" / "r1"
        (folder / "tracking").mkdir(parents=True)  # killed before its journal's first line
        record.write(home / "sweeps/s", Record(1, tuple(JOBS[1]), folder=str(folder)))

    with (
        pytest.raises(SegError, match=r"^1 jobs have not ended"),
        sweep.begun(config(), PARAMS, JOBS[:2], launch) as begun,
    ):
        begun.run(begun.missing())
    assert list(pd.read_csv(home / "sweeps/s/results.csv")["state"]) == ["finished", "interrupted"]


def test_a_job_that_ends_while_a_sweep_goes_on_is_not_run_again(config, home):
    """Its process outlived the sweep's."""
    jobs = Jobs(home, [0.1, 0.2, 0.3, 0.4])
    with sweep.begun(config(), PARAMS, JOBS, jobs) as begun:
        missing = begun.missing()
        jobs.run(2, JOBS[2], 0.9)
        begun.run({number: missing[number] for number in (0, 1, 3)})
        assert record.read(home / "sweeps/s", 2).objective == 0.9


def test_a_search_never_takes_another_study_for_its_own(config, home):
    def opened(name):
        searched = space(OverridesParser.create().parse_overrides(["seed=range(100)"]))
        return Study(name, f"sqlite:///{home}/study.db", searched, sampler, 0)

    def sampler(seed):
        return optuna.samplers.RandomSampler(seed=seed)

    with sweep.begun(config(), {"seed": "range(100)"}, [], Jobs(home, [0.1, 0.2])) as begun:
        begun.search(opened(begun.name), trials=2, batch=1)
    again = config("sweep.resume=s", "seed=5")
    with (
        pytest.raises(SegError, match=r"^hydra\.sweeper\.storage: the study there is not that of"),
        sweep.begun(again, {"seed": "range(100)"}, [], Jobs(home, [])) as begun,
    ):
        other = opened("another")
        other._seed = 1
        begun.search(other, trials=2, batch=1)


def test_a_search_whose_launcher_breaks_is_no_success(config, home):
    def launch(jobs):
        raise FileNotFoundError("sbatch")

    searched = space(OverridesParser.create().parse_overrides(["seed=range(100)"]))
    with (
        pytest.raises(SegError, match=r"^trial 0 has not ended; sweep\.resume=/.*/s goes on"),
        sweep.begun(config(), {"seed": "range(100)"}, [], launch) as begun,
    ):
        make = optuna.samplers.RandomSampler
        study = Study("s", f"sqlite:///{home}/a.db", searched, lambda seed: make(seed=seed), 0)
        begun.search(study, trials=2, batch=1)
    assert parent_and_children(home)[1].info.status == "FAILED"


def test_a_launcher_that_breaks_leaves_its_jobs_open_and_says_how_to_go_on(config, home, caplog):
    def launch(jobs):
        Jobs(home, [0.5]).run(0, JOBS[0], 0.5)
        raise RuntimeError("lost the cluster")

    with (
        pytest.raises(SegError, match=r"^3 jobs have not ended; sweep\.resume=/.*/s runs them$"),
        sweep.begun(config(), PARAMS, JOBS, launch) as begun,
    ):
        begun.run(begun.missing())
    assert "RuntimeError: lost the cluster" in caplog.text


@pytest.fixture
def planned(home, config):
    """A sweep s that has been begun."""
    with (
        pytest.raises(KeyboardInterrupt),
        sweep.begun(config(), PARAMS, JOBS, Jobs(home, [KeyboardInterrupt])) as begun,
    ):
        begun.run(begun.missing())
    return home


def test_a_resumed_sweep_has_the_words_it_was_begun_with(planned):
    at = [f"paths.outputs={planned}", "hydra/launcher=joblib", "sweep.slots=3"]
    words = resume.words(["sweep.resume=s", *at])
    assert words == [
        *("-m", "-m", "loss=dice,bce", "seed=0,1"),
        *("sweep.resume=s", *at, f'tracking.uri="{find.default_uri(planned)}"'),
        f'hydra.sweep.dir="{planned}/sweeps/s"',
    ]
    _, parent, _ = parent_and_children(planned)
    for name in (str(planned / "sweeps/s"), parent.info.run_id):
        assert resume.words(["-m", f"sweep.resume={name}", *at])[-1] == words[-1]
    assert resume.words(["loss=dice"]) == ["loss=dice"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["trainer.epochs=5"], r"^trainer\.epochs=5: a sweep goes on with the jobs"),
        (["model=unet"], r"^model=unet: a sweep goes on"),
        (["hydra.sweep.dir=elsewhere"], r"^hydra\.sweep\.dir=elsewhere: a sweep goes on"),
        (["tracking.uri=other"], r"^tracking\.uri=other: a sweep goes on"),
        (["sweep.resume=other"], r"^sweep\.resume: no sweep other in .*sweeps, and no folder"),
    ],
)
def test_what_would_make_a_resumed_sweep_another_is_refused(words, said, planned):
    with pytest.raises(SegError, match=said):
        resume.words(["sweep.resume=s", f"paths.outputs={planned}", *words])


@pytest.fixture
def killed(tmp_path):
    """Begin a sweep in outputs/sweeps/s, and kill -9 it once so many jobs have ended.

    What joblib's launcher has started lives on, idle; it goes with the test.
    """
    begun = []

    def kill(words, ended):
        process = subprocess.Popen(
            [sys.executable, "-m", "seg.run", *words, "hydra.sweep.dir=outputs/sweeps/s"],
            cwd=tmp_path,
            env=os.environ | {"CUDA_VISIBLE_DEVICES": ""},
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        begun.append(process.pid)
        at = tmp_path / "outputs/sweeps/s"
        while sum(one.ended for one in record.records(at)) < ended:
            assert process.poll() is None
            time.sleep(0.1)
        process.send_signal(signal.SIGKILL)
        process.wait()
        return at

    yield kill
    for session in begun:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(session, signal.SIGKILL)


def test_a_killed_sweep_of_processes_ends_as_if_it_had_not_been_killed(
    killed, command, tmp_path, tiny
):
    """Four jobs by joblib, two of which must fail; killed while a second pair is under way."""
    words = [
        "-m",
        *tiny,
        *QUICK,
        "trainer.epochs=1",
        "optimizer.learning_rate=1e-3,1e30",
        "seed=0,1",
    ]
    at = killed([*words, "hydra/launcher=joblib", "sweep.slots=2"], ended=1)
    done = command("sweep.resume=s", CUDA_VISIBLE_DEVICES="")
    assert done.returncode == 1
    last = done.stderr.splitlines()[-1]
    assert re.match(r"error: 2 of 4 jobs failed, see .*/outputs/sweeps/s/results\.csv;", last)
    table = pd.read_csv(at / "results.csv")
    assert list(table["state"]) == ["finished"] * 2 + ["failed"] * 2
    assert table["val/dice"][:2].is_monotonic_decreasing
    assert set(table["job"][:2]) == {0, 1}
    assert table["said"].str.startswith("loss is ")[2:].all()
    _, parent, children = parent_and_children(tmp_path / "outputs")
    assert parent.info.status == "FINISHED"
    states = {run.data.tags["sweep.job"]: run.info.status for run in children}
    assert states == {"0": "FINISHED", "1": "FINISHED", "2": "FAILED", "3": "FAILED"}
    assert len(children) == 4
    best = next(run for run in children if run.info.run_id == parent.data.tags["best.run_id"])
    assert best.data.metrics["val/dice"] == table["val/dice"][0]


def test_a_killed_search_loses_no_trial_and_runs_none_twice(
    killed, command, tmp_path, tiny, readme_runs
):
    line = next(line for line in readme_runs if "hparams_search=unet" in line)
    pruner = [f"hydra.sweeper.pruner.{key}=1" for key in ("n_startup_trials", "n_warmup_steps")]
    at = killed([*line, *tiny, *QUICK, *pruner, "hydra.sweeper.trials=4"], ended=1)
    (first,) = [one for one in record.records(at) if one.ended]
    done = command("sweep.resume=s")
    assert done.returncode == 0, done.stderr
    ended = record.records(at)
    assert [one.job for one in ended] == [0, 1, 2, 3]
    assert ended[0] == first
    url = f"sqlite:///{at}/state/study.db"
    study = optuna.load_study(study_name=resume.identity(at), storage=url)
    assert [trial.number for trial in study.trials] == [0, 1, 2, 3]
    states = {record.FINISHED: TrialState.COMPLETE, record.PRUNED: TrialState.PRUNED}
    for trial, one in zip(study.trials, ended, strict=True):
        assert trial.state == states[one.state]
        assert {f"{key}={value}" for key, value in trial.params.items()} <= {*one.words}
    table = pd.read_csv(at / "results.csv", index_col="job")
    _, _, children = parent_and_children(tmp_path / "outputs")
    assert len(children) == 4
    for run in children:
        one = ended[int(run.data.tags["sweep.job"])]
        pruned = one.state == record.PRUNED
        assert run.info.status == ("KILLED" if pruned else "FINISHED")
        assert table.loc[one.job, "epochs"] == (1 if pruned else 2)
        assert run.data.tags.get("pruned", "") == one.said
    assert record.PRUNED in [one.state for one in ended]


def test_any_value_can_be_searched_from_the_command_line(readme_runs, command, tmp_path, tiny):
    line = next(line for line in readme_runs if "hydra/sweeper=optuna" in line)
    done = command(*line, *tiny, *QUICK, "hydra.sweeper.trials=1")
    assert done.returncode == 0, done.stderr
    (folder,) = (tmp_path / "outputs/sweeps").iterdir()
    (one,) = record.records(folder)
    words = dict(word.split("=", 1) for word in one.words)
    assert 1e-4 <= float(words["optimizer.learning_rate"]) <= 1e-2
    assert words["loss"] in ("dice", "bce")


@pytest.mark.parametrize(
    ("launcher", "target"),
    [
        ("joblib", "hydra_joblib_launcher.joblib_launcher.JoblibLauncher"),
        ("submitit_slurm", "hydra_submitit_launcher.submitit_launcher.SlurmLauncher"),
    ],
)
def test_the_launchers_of_the_readme_take_what_it_types(launcher, target, project):
    lines = re.findall(r"`python -m seg.run -m (.*?)`", (project / "README.md").read_text())
    (line,) = [line for line in lines if f"hydra/launcher={launcher}" in line]
    fixed = [word for word in line.split() if "," not in word]
    with initialize_config_dir(conf_dir(), version_base="1.3"):
        cfg = compose("config", fixed, return_hydra_config=True)
    assert cfg.hydra.launcher._target_ == f"hydra_plugins.{target}"
    for word in fixed[1:]:
        key, value = word.split("=")
        assert str(OmegaConf.select(cfg, key)) == value
