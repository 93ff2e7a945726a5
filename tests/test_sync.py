"""`python -m seg.sync`: what is said, and what is refused."""

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
        f"{folders[2]}: 0 sent, 0 left",
    ]
    elsewhere = ["--uri", find.default_uri(tmp_path)]
    assert sync.main([str(missed), str(folders[0]), *elsewhere]) == 0
    assert capsys.readouterr().out.splitlines() == [
        f"{folders[0]}: 3 sent, 0 left",
        f"{folders[1]}: 3 sent, 0 left",
        f"{folders[2]}: 0 sent, 0 left",
    ]


@pytest.mark.parametrize(
    ("name", "said"), [("nowhere", "no such folder"), (".", "no run's folder")]
)
def test_a_folder_without_runs_is_one_sentence(tmp_path, capsys, name, said):
    assert sync.main([str(tmp_path / name)]) == 1
    error = capsys.readouterr().err
    assert error.startswith(f"error: {tmp_path / name}: {said}")
    assert len(error.splitlines()) == 1
