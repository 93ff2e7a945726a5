"""A search that is interrupted anywhere goes on as if it had not been."""

import math

import optuna
import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import TrialState

from seg.contracts import SegError
from seg.jobs import record
from seg.jobs.record import Record
from seg.jobs.study import Study, space


def spaced(*words):
    return space(OverridesParser.create().parse_overrides([*words]))


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("a=choice(dice,bce)", CategoricalDistribution(["dice", "bce"])),
        ("a=x,y", CategoricalDistribution(["x", "y"])),
        ('a=choice("on","off")', CategoricalDistribution(["on", "off"])),
        ("a=choice([1,2],[3,4])", CategoricalDistribution(["[1,2]", "[3,4]"])),
        ("a=interval(0,1)", FloatDistribution(0, 1)),
        ("a=tag(log,interval(1e-5,1e-2))", FloatDistribution(1e-5, 1e-2, log=True)),
        ("a=int(interval(1,8))", IntDistribution(1, 8)),
        ("a=tag(log,int(interval(1,64)))", IntDistribution(1, 64, log=True)),
        ("a=range(1,4)", IntDistribution(1, 3)),
        ("a=range(8,33,8)", IntDistribution(8, 32, step=8)),
        ("a=range(0,10,4)", IntDistribution(0, 8, step=4)),
        ("a=range(0.0,0.5,0.25)", FloatDistribution(0, 0.25, step=0.25)),
    ],
)
def test_hydras_words_say_what_is_searched(word, expected):
    assert spaced(word) == {"a": expected}


@pytest.mark.parametrize("word", ["a=interval(1,0)", "a=tag(log,interval(0,1))"])
def test_what_cannot_be_searched_is_refused_with_its_word(word):
    with pytest.raises(SegError) as raised:
        spaced(word)
    assert str(raised.value).startswith(f"{word}: ")


def test_a_search_for_nothing_is_refused():
    with pytest.raises(SegError, match="nothing is searched; name values, as"):
        space([])


@pytest.fixture
def study(tmp_path):
    """Open a study of two values: name of its file -> study."""
    searched = spaced("lr=tag(log,interval(1e-4,1e-1))", "loss=choice(dice,bce)")

    def opened(file="a", sampler=optuna.samplers.TPESampler):
        def make(seed):
            return sampler(seed=seed)

        return Study("name", f"sqlite:///{tmp_path / file}.db", searched, make, 0)

    return opened


def judged(words):
    lr, loss = (word.partition("=")[2] for word in words)
    return -((math.log10(float(lr)) + 2) ** 2) - (loss == "bce")


def ended(trial, words):
    return Record(trial.number, tuple(words), record.FINISHED, objective=judged(words))


def run(study, trials):
    told = []
    while study.count() < trials:
        trial = study.ask()
        told.append(study.words(trial))
        study.tell(trial, ended(trial, told[-1]))
    return told


def test_a_search_that_goes_on_in_another_process_tries_what_it_would_have_tried(study):
    whole = run(study("whole"), 16)
    begun = run(study("cut"), 7)
    left = study("cut").ask()  # killed before a value was drawn
    (again,) = study("cut").asked()
    assert again.number == left.number == 7
    words = study("cut").words(again)
    (again,) = study("cut").asked()  # killed before it had ended
    assert study("cut").words(again) == words
    study("cut").tell(again, ended(again, words))
    assert study("cut").asked() == []
    assert [*begun, words, *run(study("cut"), 16)] == whole
    assert len({tuple(trial) for trial in whole}) == 16


def test_a_search_finds_better_values_than_chance(study):
    found = max(map(judged, run(study("tpe"), 30)))
    drawn = max(map(judged, run(study("random", optuna.samplers.RandomSampler), 30)[:10]))
    assert found > drawn
    assert found > -0.02


def test_a_trial_is_told_as_it_ended(study, tmp_path):
    one = study()
    for state, objective in [
        (record.FINISHED, 0.5),
        (record.FINISHED, math.nan),
        (record.FAILED, math.nan),
        (record.PRUNED, math.nan),
    ]:
        trial = one.ask()
        one.words(trial)
        if state == record.PRUNED:
            trial.report(0.25, 3)
        one.tell(trial, Record(trial.number, (), state, objective=objective))
    known = optuna.load_study(study_name="name", storage=f"sqlite:///{tmp_path}/a.db").trials
    told = [(trial.state, trial.value) for trial in known]
    assert told == [
        (TrialState.COMPLETE, 0.5),
        (TrialState.FAIL, None),
        (TrialState.FAIL, None),
        (TrialState.PRUNED, 0.25),
    ]
