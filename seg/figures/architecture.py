"""A drawing of a model: layers from left to right, finer maps above coarser ones.

A length is a pixel of the picture; x grows to the right, y upwards.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Protocol

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import PathPatch, Rectangle
from matplotlib.path import Path as Curve
from matplotlib.patheffects import withStroke

INK, PALE, GRID = "#3c4043", "#80868b", "#e8eaed"
CHAIN, SKIP = "#80868b", "#e45756"
COLOURS = {
    "input": INK,
    "convolution": "#4c78a8",
    "transposed": "#f58518",
    "dense": "#54a24b",
    "attention": "#b279a2",
    "other": "#9d755d",
    "join": INK,
}
MOST_WIDTH, LEAST_WIDTH, DPI = 1600, 960, 100
LEFT, RIGHT, TOP, ROW, BOTTOM = 96, 40, 60, 96, 52
MOST_SLOT, JOIN_SLOTS, TURN = 52, 0.6, 14
DIGIT, LETTER_HEIGHT, GAP = 5.8, 9, 3
HALO = {"linewidth": 2, "foreground": "white"}


class Node(Protocol):
    """What is drawn of a layer: see `seg.models.graph.Node`."""

    name: str
    kind: str
    channels: int
    stride: float
    answer: bool


@dataclass(frozen=True)
class _Box:
    """Where a node lies: its middle, and its width and height."""

    x: float
    y: float
    width: float
    height: float

    @property
    def left(self) -> float:
        return self.x - self.width / 2

    @property
    def right(self) -> float:
        return self.x + self.width / 2

    @property
    def bottom(self) -> float:
        return self.y - self.height / 2

    @property
    def top(self) -> float:
        return self.y + self.height / 2

    def meets(self, other: _Box) -> bool:
        apart_x = 2 * abs(self.x - other.x) >= self.width + other.width
        return not apart_x and 2 * abs(self.y - other.y) < self.height + other.height


def draw(
    nodes: Sequence[Node],
    edges: Sequence[tuple[int, int]],
    size: tuple[int, int],
    title: str,
    path: Path,
) -> None:
    """Draw a model as a PNG file at most 1600 pixels wide, making its folder.

    A layer is a box, the higher the more channels it has; the number stands above where it changes
    and there is room. Edges that pass over a layer are red: under the row where it stands in the
    way, else straight ahead.

    Args:
        nodes: in order; the first is the input.
        edges: (from, to), positions in nodes, from before to.
        size: (height, width) of the image.
        title: one line.
        path: of the file.
    """
    boxes, width, height = _layout(nodes)
    figure = Figure(figsize=(width / DPI, height / DPI), dpi=DPI)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(0, width), ylim=(0, height))
    axes.axis("off")
    _rows(axes, nodes, boxes, size, width)
    for edge in edges:
        _edge(axes, boxes, *edge)
    for node, box in zip(nodes, boxes, strict=True):
        _node(axes, node, box)
    _numbers(axes, nodes, boxes)
    axes.text(16, height - 18, title, fontsize=11, va="top", color=INK, parse_math=False)
    _legend(axes, {node.kind for node in nodes})
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=DPI)


def _layout(nodes: Sequence[Node]) -> tuple[list[_Box], float, float]:
    """Place the nodes, a slot each, and return the size of the picture."""
    slots = [JOIN_SLOTS if node.kind == "join" else 1 for node in nodes]
    slot = min(MOST_SLOT, (MOST_WIDTH - LEFT - RIGHT) / sum(slots))
    width = max(LEAST_WIDTH, LEFT + slot * sum(slots) + RIGHT)
    start = LEFT + (width - LEFT - RIGHT - slot * sum(slots)) / 2
    depths = [math.log2(node.stride) for node in nodes]
    height = TOP + ROW * (max(depths) - min(depths) + 1) + BOTTOM
    boxes = []
    for node, own, depth in zip(nodes, slots, depths, strict=True):
        y = height - TOP - ROW * (depth - min(depths) + 0.5)
        wide, high = min(26, 0.6 * slot), 8 + 3 * math.log2(node.channels)
        if node.kind == "join":
            wide = high = min(8, 0.5 * slot)
        boxes.append(_Box(start + slot * own / 2, y, wide, high))
        start += slot * own
    return boxes, width, height


def _rows(
    axes: Axes, nodes: Sequence[Node], boxes: Sequence[_Box], size: tuple[int, int], width: float
) -> None:
    """Draw a line for each resolution, labelled with the size of its maps."""
    strides = {box.y: node.stride for node, box in zip(nodes, boxes, strict=True)}
    before = math.inf
    for y, stride in sorted(strides.items(), reverse=True):
        axes.plot([LEFT - 8, width - 16], [y, y], color=GRID, linewidth=1, zorder=0)
        if before - y > 2 * LETTER_HEIGHT:
            label = " × ".join(f"{side / stride:.0f}" for side in size)
            axes.text(16, y, label, fontsize=8, va="center", color=PALE)
            before = y


def _edge(axes: Axes, boxes: Sequence[_Box], start: int, end: int) -> None:
    a, b, between = boxes[start], boxes[end], boxes[start + 1 : end]
    blocking = [box.bottom for box in between if abs(box.y - a.y) < ROW / 3]
    if not between or (a.y == b.y and not blocking):
        points = [(a.right, a.y), (b.left, b.y)]
    else:
        lane, way = a.y, [(a.right, a.y)]
        if blocking:
            # The more an edge passes, the lower, so that edges of one row stay apart.
            lane = min(a.bottom, *blocking) - 6 - min(26, 5 * math.log2(len(between) + 1))
            way = [(a.x, a.bottom), (a.x, lane)]
        points = [*way, (b.x, lane), (b.x, b.bottom if b.y > lane else b.top)]
    colour = SKIP if between else CHAIN
    line = PathPatch(_rounded(points), facecolor="none", edgecolor=colour, linewidth=1, zorder=1)
    axes.add_patch(line)


def _rounded(points: Sequence[tuple[float, float]]) -> Curve:
    """Join points by straight lines, and round the corners."""
    way, codes = [points[0]], [Curve.MOVETO]
    for before, corner, after in zip(points, points[1:], points[2:], strict=False):
        radius = min(TURN, math.dist(before, corner) / 2, math.dist(corner, after) / 2)
        way += [_towards(corner, before, radius), corner, _towards(corner, after, radius)]
        codes += [Curve.LINETO, Curve.CURVE3, Curve.CURVE3]
    return Curve([*way, points[-1]], [*codes, Curve.LINETO])


def _towards(
    start: tuple[float, float], end: tuple[float, float], length: float
) -> tuple[float, float]:
    share = length / max(math.dist(start, end), 1)
    return start[0] + share * (end[0] - start[0]), start[1] + share * (end[1] - start[1])


def _node(axes: Axes, node: Node, box: _Box) -> None:
    colour = COLOURS[node.kind]
    if node.kind == "join":
        axes.plot(box.x, box.y, "o", color=colour, markersize=box.width * 72 / DPI, zorder=3)
        return
    shape = Rectangle((box.left, box.bottom), box.width, box.height, color=colour, linewidth=0)
    axes.add_patch(shape).set_zorder(2)
    if node.answer:
        axes.plot(box.x, box.bottom - 8, "v", color=INK, markersize=6, zorder=3)


def _numbers(axes: Axes, nodes: Sequence[Node], boxes: Sequence[_Box]) -> None:
    """Write numbers of channels above the boxes: turned in a row where they need that to fit."""
    rows: dict[float, list[tuple[float, float, str]]] = {}
    for run in _runs(nodes, boxes):
        middle = (boxes[run[0]].x + boxes[run[-1]].x) / 2
        text = "input" if nodes[run[0]].kind == "input" else str(nodes[run[0]].channels)
        bottom = max(boxes[i].top for i in run) + 4
        rows.setdefault(boxes[run[0]].y, []).append((middle, bottom, text))
    placed: list[_Box] = []
    for row in rows.values():
        turned = any(
            b - a < GAP + DIGIT * (len(one) + len(other)) / 2
            for (a, _, one), (b, _, other) in pairwise(row)
        )
        for middle, bottom, text in row:
            length = DIGIT * len(text)
            wide, high = (LETTER_HEIGHT, length) if turned else (length, LETTER_HEIGHT)
            place = _Box(middle, bottom + high / 2, wide + GAP, high)
            if not any(place.meets(other) for other in placed):
                placed.append(place)
                axes.text(
                    *(middle, bottom, text),
                    **{"ha": "center", "va": "bottom", "rotation": 90 * turned, "fontsize": 7},
                    **{"color": INK, "zorder": 4, "path_effects": [withStroke(**HALO)]},
                )


def _runs(nodes: Sequence[Node], boxes: Sequence[_Box]) -> list[list[int]]:
    """Group neighbours in a row that have the same number of channels."""
    runs: list[list[int]] = []
    for i, node in enumerate(nodes):
        if node.kind == "join":
            continue
        last = runs[-1][-1] if runs else None
        same = last is not None and (nodes[last].channels, boxes[last].y) == (
            node.channels,
            boxes[i].y,
        )
        if same and nodes[last].kind != "input":
            runs[-1].append(i)
        else:
            runs.append([i])
    return runs


def _legend(axes: Axes, kinds: set[str]) -> None:
    names = {"join": "sum, concatenation or product", "dense": "dense (fully connected)"}
    entries = [
        ("o" if kind == "join" else "s", colour, names.get(kind, kind))
        for kind, colour in COLOURS.items()
        if kind in kinds
    ]
    entries += [("v", INK, "output"), ("_", CHAIN, "to the next"), ("_", SKIP, "past others")]
    x = 16
    for marker, colour, text in entries:
        size = 12 if marker == "_" else 6
        axes.plot(x + 5, 22, marker, color=colour, markersize=size, markeredgewidth=1.5)
        axes.text(x + 17, 22, text, fontsize=8, va="center", color=INK)
        x += 17 + 6 * len(text) + 20
