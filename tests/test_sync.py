"""`python -m seg.sync`: what is said, and what is refused."""

import json

import pytest

from seg import sync
from seg.track import find
from seg.track.run import Target, start


@pytest.fixture
def missed(tmp_path):
    """Folder of runs, of which two have told nobody anything."""
    for name, uri in (("a", "http://127.0.0.1:9"), ("b", "http://127.0.0.1:9"), ("c", None)):
        folder = tmp_path / "outputs" / "phantom" / name
        folder.mkdir(parents=True)
        target = Target(uri or find.default_uri(tmp_path), "e", tmp_path)
        with start(folder, target, name, {}) as run:
            run.metrics({"x": 1.0}, 1)
    return tmp_path / "outputs"


def test_all_below_a_folder_are_sent_and_what_is_left_is_an_error(missed, capsys, tmp_path):
    folders = [missed / "phantom" / name for name in "abc"]
    assert sync.run_folders(missed) == folders
    assert sync.main([str(missed)]) == 1
    assert capsys.readouterr().out.splitlines() == [
        f"{folders[0]}: 0 sent, 3 left",
        f"{folders[1]}: 0 sent, 3 left",
        "runs: 3, with something left: 2",
    ]
    elsewhere = ["--uri", find.default_uri(tmp_path)]
    assert sync.main([str(missed), str(folders[0]), *elsewhere]) == 0
    assert capsys.readouterr().out.splitlines() == [
        f"{folders[0]}: 3 sent, 0 left",
        f"{folders[1]}: 3 sent, 0 left",
        "runs: 3, with something left: 0",
    ]


def test_one_bad_journal_keeps_no_other_from_being_sent(missed, capsys, tmp_path):
    a, b = (missed / "phantom" / name for name in "ab")
    (a / "tracking" / "events.jsonl").write_text("no JSON\n")
    assert sync.main([str(missed), "--uri", find.default_uri(tmp_path)]) == 1
    out, err = capsys.readouterr()
    assert out.splitlines() == [f"{b}: 3 sent, 0 left", "runs: 3, with something left: 1"]
    assert err.count(f"{a}: cannot be sent") == 1


def test_a_store_that_is_gone_is_not_made_anew(missed, capsys, tmp_path):
    c = missed / "phantom" / "c"
    receipts = c / "tracking" / "sent.jsonl"
    receipts.write_text(receipts.read_text().splitlines(keepends=True)[0])
    (tmp_path / "mlflow.db").rename(tmp_path / "moved.db")
    assert sync.main([str(c)]) == 1
    assert "mlflow.db is not there; tracking.uri or --uri says" in capsys.readouterr().err
    assert not (tmp_path / "mlflow.db").exists()
    assert sync.main([str(c), "--uri", f"sqlite:///{tmp_path}/moved.db"]) == 0


def test_receipts_of_lines_that_are_lost_count_for_nothing(missed, tmp_path):
    """As after a crash of the machine."""
    c = missed / "phantom" / "c"
    events = c / "tracking" / "events.jsonl"
    events.write_text(events.read_text().splitlines(keepends=True)[0])
    assert sync.main([str(c)]) == 0
    assert [entry["kind"] for entry in map(json.loads, events.open())] == ["open", "close"]


@pytest.mark.parametrize(
    ("name", "said"), [("nowhere", "no such folder"), (".", "no run's folder")]
)
def test_a_folder_without_runs_is_one_sentence(tmp_path, capsys, name, said):
    assert sync.main([str(tmp_path / name)]) == 1
    error = capsys.readouterr().err
    assert error.startswith(f"error: {tmp_path / name}: {said}")
    assert len(error.splitlines()) == 1
