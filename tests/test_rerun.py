"""An earlier run's config, composed again."""

import json
import logging

import pytest
from omegaconf import OmegaConf

from seg import rerun
from seg.contracts import SegError


@pytest.fixture
def was(tmp_path):
    """Folder of a run of `model=swin model.window=7 seed=1`."""
    folder = tmp_path / "outputs/phantom/swin/20260101-000000-abcdef"
    folder.mkdir(parents=True)
    OmegaConf.save({"seed": 1, "model": {"name": "swin", "window": 7}}, folder / "config.yaml")
    overrides = ["model=swin", "model.window=7", "seed=1", "+model.extra=2", "~augment.flip"]
    tags = {"mlflow.source.git.commit": "a" * 40, "git.dirty": "false"}
    (folder / "provenance.json").write_text(json.dumps({"overrides": overrides, "tags": tags}))
    (folder / "data.json").write_text(
        json.dumps({"train": {"digest": "d"}, "test": {"digest": "e"}})
    )
    return folder


def test_without_rerun_the_words_stay():
    assert rerun.words(["-m", "seed=1,2"]) == ["-m", "seed=1,2"]


def test_its_words_come_first_and_those_given_win(was):
    given = [f"rerun={was}", "seed=5"]
    assert rerun.words(given) == [
        *("model=swin", "model.window=7", "+model.extra=2", "~augment.flip"),
        *given,
    ]


def test_another_model_drops_what_was_said_of_the_first(was):
    given = [f"rerun={was}", "model=unet"]
    assert rerun.words(given) == ["seed=1", "~augment.flip", *given]


def test_nobody_is_refused_by_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SegError, match=r"rerun: no run folder and no .* called nobody \(sqlite:"):
        rerun.words(["rerun=nobody"])


def test_a_run_of_an_old_version_is_refused(was):
    (was / "provenance.json").unlink()
    with pytest.raises(SegError, match=r"rerun: .* has no provenance.json"):
        rerun.earlier(str(was), "")


def merged(before, base, now, *typed):
    found = rerun.merged(*(OmegaConf.create(values) for values in (before, base, now)), typed)
    return OmegaConf.to_container(found)


def test_what_is_not_changed_is_as_it_was_though_the_files_differ_today():
    before = {"a": 1, "b": {"c": 2, "gone": 3}, "d": [1, 2]}
    base = {"a": 10, "b": {"c": 20, "new": 4}, "d": [1]}
    assert merged(before, base, base) == {"a": 1, "b": {"c": 2, "gone": 3, "new": 4}, "d": [1, 2]}


def test_what_is_changed_is_as_it_is_now():
    before = {"a": 1, "b": {"c": 2, "e": 1}, "d": 5}
    base = {"a": 10, "b": {"c": 20, "e": 1}, "d": 5}
    now = {"a": 10, "b": {"c": 30, "f": 7}, "d": None}
    assert merged(before, base, now) == {"a": 1, "b": {"c": 30, "f": 7}, "d": None}


def test_what_is_typed_wins_also_where_it_is_the_default_of_today():
    assert merged({"a": 1, "b": 1}, {"a": 7, "b": 7}, {"a": 7, "b": 7}, "a=7") == {"a": 7, "b": 1}


def test_places_are_those_of_today():
    before = {"paths": {"outputs": "theirs"}, "dataset": {"root": "theirs", "name": "x"}}
    today = {"paths": {"outputs": "mine"}, "dataset": {"root": "mine", "name": "x"}}
    assert merged(before, today, today) == today


@pytest.mark.parametrize(
    ("word", "said"),
    [("rerun=", "rerun= names no run"), ("experiment=smoke", "leave out either it or rerun=")],
)
def test_what_cannot_stand_beside_it_is_refused(was, word, said):
    with pytest.raises(SegError, match=said):
        rerun.words([f"rerun={was}", word] if "exp" in word else [word])


def test_rerun_of_null_is_none_and_quotes_are_the_shells(was):
    assert rerun.words(["rerun=null"]) == ["rerun=null"]
    assert rerun.words([f"rerun='{was}'"])[0] == "model=swin"


def test_what_was_added_is_there_to_be_set(was):
    assert "+model.extra=2" in rerun.words([f"rerun={was}", "model.extra=5"])
    assert "+model.extra=2" not in rerun.words([f"rerun={was}", "+model.extra=5"])


def test_another_part_replaces_the_whole():
    unet = {"name": "unet", "levels": 4, "dropout": 0}
    swin = {"name": "swin", "window": 7, "dropout": 0}
    assert merged({"model": unet}, {"model": unet}, {"model": swin}) == {"model": swin}
    assert merged({"model": unet}, {"model": unet}, {"model": None}) == {"model": None}
    assert merged({"model": None}, {"model": None}, {"model": unet}) == {"model": unet}


@pytest.mark.parametrize(
    ("tags", "data", "said"),
    [
        ({}, {}, ()),
        ({}, {"test": {"digest": "other"}}, ("the data is not that of X (test)",)),
        (
            {"mlflow.source.git.commit": "b" * 40},
            {},
            (f"the code of X was commit {'a' * 40}, this is {'b' * 40}",),
        ),
        ({"git.dirty": "true"}, {}, ("changes that are not committed",)),
    ],
)
def test_what_differs_is_said(was, caplog, tags, data, said):
    caplog.set_level(logging.WARNING)
    earlier = rerun.earlier(str(was), "")
    rerun.warn_of_differences("X", earlier, {**earlier.tags, **tags}, {**earlier.data, **data})
    assert len(caplog.records) == len(said)
    assert all(text in caplog.text for text in said)
