"""Facts about `seg.figures.architecture`: what of a model shows in its drawing, and how large."""

from dataclasses import dataclass, replace

import cv2
import numpy as np
import pytest

from seg.figures.architecture import COLOURS, MOST_WIDTH, draw


@dataclass(frozen=True)
class Node:
    name: str
    kind: str
    channels: int
    stride: float
    answer: bool = False


U_NODES = [
    Node("input", "input", 1, 1),
    Node("a", "convolution", 16, 1),
    Node("b", "convolution", 32, 2),
    Node("c", "transposed", 16, 1),
    Node("d", "join", 32, 1),
    Node("e", "convolution", 1, 1, answer=True),
]
U_EDGES = [(0, 1), (1, 2), (1, 4), (2, 3), (3, 4), (4, 5)]


def drawn(path, nodes=U_NODES, edges=U_EDGES, title="a model"):
    draw(nodes, edges, (64, 96), title, path)
    return cv2.imread(str(path))


def chain(n, **others):
    nodes = [U_NODES[0], *(Node(str(i), "convolution", 2 + i % 7, 1) for i in range(n))]
    return nodes, [(i, i + 1) for i in range(n)]


def coloured(picture, kind):
    """Return where the colour of a kind shows above the legend."""
    red, green, blue = (int(COLOURS[kind][i : i + 2], 16) for i in (1, 3, 5))
    return (np.abs(picture[:-44].astype(int) - (blue, green, red)) < 3).all(axis=-1)


@pytest.mark.filterwarnings("error")
def test_the_drawing_is_written_into_a_new_folder(tmp_path):
    picture = drawn(tmp_path / "new" / "a.png")
    assert picture.shape[1] <= MOST_WIDTH
    assert coloured(picture, "convolution").sum() > 1000
    assert (picture == 255).mean() > 0.5


def test_coarser_maps_lie_lower_and_later_layers_to_the_right(tmp_path):
    picture = drawn(tmp_path / "a.png")
    _, _, stats, centres = cv2.connectedComponentsWithStats(
        coloured(picture, "convolution").astype(np.uint8)
    )
    boxes = [centre for centre, area in zip(centres, stats[:, 4], strict=True) if area > 100][1:]
    (ax, ay), (bx, by), (ex, ey) = sorted(boxes, key=lambda centre: centre[0])
    assert ax < bx < ex
    assert ay == pytest.approx(ey, abs=1)
    assert by > ay + 50
    rows, columns = np.nonzero(coloured(picture, "transposed"))
    assert bx < columns.mean() < ex
    assert rows.mean() == pytest.approx(ay, abs=1)


def test_more_channels_make_a_higher_box(tmp_path):
    heights = []
    for channels in (2, 64):
        nodes = [*U_NODES[:3], replace(U_NODES[3], channels=channels), *U_NODES[4:]]
        shown = coloured(drawn(tmp_path / "a.png", nodes), "transposed")
        heights.append(shown.any(axis=1).sum())
    assert heights[1] == heights[0] + 3 * 5


@pytest.mark.parametrize(
    ("nodes", "edges", "title"),
    [
        (U_NODES, [edge for edge in U_EDGES if edge != (1, 4)], "a model"),
        ([*U_NODES[:5], replace(U_NODES[5], answer=False)], U_EDGES, "a model"),
        ([*U_NODES[:2], replace(U_NODES[2], channels=33), *U_NODES[3:]], U_EDGES, "a model"),
        ([*U_NODES[:2], replace(U_NODES[2], kind="dense"), *U_NODES[3:]], U_EDGES, "a model"),
        (U_NODES, U_EDGES, r"$\nosuchformula$"),
    ],
    ids=["skip", "output", "channels", "kind", "title"],
)
def test_skips_outputs_channels_kinds_and_the_title_show(nodes, edges, title, tmp_path):
    picture = drawn(tmp_path / "a.png")
    other = drawn(tmp_path / "b.png", nodes, edges, title)
    assert picture.shape == other.shape
    assert (picture != other).any()


def test_hundreds_of_layers_fit_on_a_page(tmp_path):
    """Each is a bar of its own still."""
    picture = drawn(tmp_path / "a.png", *chain(300))
    assert picture.shape[1] == MOST_WIDTH
    line = coloured(picture, "convolution").any(axis=0)
    assert np.count_nonzero(np.diff(line.astype(int)) == 1) == 300


@pytest.mark.filterwarnings("error")
def test_an_input_alone_is_drawn(tmp_path):
    assert coloured(drawn(tmp_path / "a.png", U_NODES[:1], []), "input").any()


def test_no_two_numbers_overlap(tmp_path, monkeypatch):
    """Measured as Matplotlib sets them, in rows close together and with many figures."""
    from matplotlib.axes import Axes

    texts = []
    set_text = Axes.text
    monkeypatch.setattr(
        Axes, "text", lambda *given, **how: texts.append(set_text(*given, **how)) or texts[-1]
    )
    strides = [1, 1.02, 2, 2.04, 2.08, 4]
    many = [Node(str(i), "dense", 10 ** (i % 5), strides[i // 25 % 6]) for i in range(150)]
    draw([U_NODES[0], *many], [], (64, 96), "a model", tmp_path / "a.png")
    boxes = [text.get_window_extent() for text in texts]
    assert len(boxes) > 60
    for i, box in enumerate(boxes):
        assert not any(box.overlaps(other) for other in boxes[:i])
