"""A functional model as a drawing sees it: the layers that matter, and what feeds them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import keras
from keras import KerasTensor, layers

KINDS = {
    "transposed": (layers.Conv1DTranspose, layers.Conv2DTranspose, layers.Conv3DTranspose),
    "convolution": (
        *(layers.Conv1D, layers.Conv2D, layers.Conv3D),
        *(layers.DepthwiseConv1D, layers.DepthwiseConv2D),
        *(layers.SeparableConv1D, layers.SeparableConv2D),
    ),
    "dense": (layers.Dense, layers.EinsumDense),
}

Edge = tuple[int, int]


@dataclass(frozen=True)
class Node:
    """The input, a layer, or a place where several meet.

    Attributes:
        name: of the layer.
        kind: input, convolution, transposed, dense, attention, other or join.
        channels: of its output.
        stride: side of the image over the side of its output; of what a whole map is pooled to, the
            stride of that map.
        answer: whether an output of the model leaves from here.
    """

    name: str
    kind: str
    channels: int
    stride: float
    answer: bool = False


@dataclass(frozen=True)
class _Flow:
    """A tensor in passing (its shape and type), and the node that it comes from."""

    tensor: KerasTensor
    source: int


def architecture(
    model: keras.Model, image_shape: tuple[int, int, int]
) -> tuple[list[Node], list[Edge]]:
    """Return the layers of a model that have weight matrices or attend, and what feeds what.

    Others (normalization, activation, pooling, enlarging) are left out: an edge passes through
    them, and where they join what comes from several (sum, concatenation, gate) there is a node of
    kind join. Nested functional models are entered.

    Args:
        model: of one input.
        image_shape: (height, width, channels) of the image that strides are relative to; the
            model's own may be free.

    Returns:
        Nodes, each behind all that feeds it; edges (from, to), ascending, as positions among them.
        Both are empty for a model that is not functional.
    """
    function = _functional(model)
    if function is None or len(function.inputs) != 1:
        return [], []
    walk = _Walk(image_shape)
    image = KerasTensor((None, *image_shape), function.inputs[0].dtype)
    outputs = walk.through(function, [_Flow(image, walk.add("input", "input", image))])
    for flow in outputs:
        walk.nodes[flow.source] = replace(walk.nodes[flow.source], answer=True)
    return _ordered(walk.nodes, walk.edges, outputs[0].source)


class _Walk:
    """Nodes and edges found so far, on the way through the calls of a model's graph."""

    def __init__(self, image_shape: tuple[int, int, int]) -> None:
        self.pixels = math.prod(image_shape[:2])
        self.nodes: list[Node] = []
        self.edges: set[Edge] = set()

    def through(self, function: keras.Model, flows: Sequence[_Flow]) -> list[_Flow]:
        """Follow what flows into a functional model until it comes out."""
        at = {id(tensor): flow for tensor, flow in zip(function.inputs, flows, strict=True)}
        for depth in sorted(function._nodes_by_depth, reverse=True):
            for call in function._nodes_by_depth[depth]:
                if not call.is_input:
                    made = self._past(call, [at[id(tensor)] for tensor in call.input_tensors])
                    # A model that trains on more outputs than it gives is called for the first.
                    at |= {id(t): flow for t, flow in zip(call.outputs, made, strict=False)}
        return [at[id(tensor)] for tensor in function.outputs]

    def _past(self, call: Any, flows: list[_Flow]) -> list[_Flow]:  # noqa: ANN401
        """Follow what flows through one call of a layer, an operation or a nested model."""
        inner = _functional(call.operation)
        if inner is not None:
            return self.through(inner, flows)
        tensors = _outputs(call, flows)
        sources = sorted({flow.source for flow in flows})
        kind = _kind(call.operation) or ("join" if len(sources) > 1 else None)
        if kind is None:
            return [_Flow(tensor, sources[0]) for tensor in tensors]
        node = self.add(call.operation.name, kind, tensors[0], sources)
        return [_Flow(tensor, node) for tensor in tensors]

    def add(self, name: str, kind: str, tensor: KerasTensor, sources: Sequence[int] = ()) -> int:
        """Append a node with its edges, and return its position."""
        before = max((self.nodes[source].stride for source in sources), default=1.0)
        places = tensor.shape[1:-1]
        stride = before if None in places else math.sqrt(self.pixels / math.prod(places))
        # A vector is no map of one pixel, unless this is what the next halving gives.
        pooled = math.prod(p or 0 for p in places) == 1 and self.pixels > 4 * before**2
        self.nodes.append(Node(name, kind, tensor.shape[-1], before if pooled else stride))
        self.edges |= {(source, len(self.nodes) - 1) for source in sources}
        return len(self.nodes) - 1


def _functional(operation: keras.Operation) -> keras.Model | None:
    """Return the graph of calls that a functional or sequential model is, else None."""
    inner = getattr(operation, "_functional", operation)
    return inner if hasattr(inner, "_nodes_by_depth") else None


def _outputs(call: Any, flows: list[_Flow]) -> list[KerasTensor]:  # noqa: ANN401
    """Return what a call gives for what flows into it: as recorded, if that had this shape."""
    given = call.input_tensors
    if all(t.shape == flow.tensor.shape for t, flow in zip(given, flows, strict=True)):
        return call.outputs
    known = {id(t): flow.tensor for t, flow in zip(given, flows, strict=True)}
    arguments, options = call.arguments.fill_in(known)
    return keras.tree.flatten(call.operation.compute_output_spec(*arguments, **options))


def _kind(operation: keras.Operation) -> str | None:
    """Classify a layer; None for one without a weight of two or more dimensions."""
    if "Attention" in type(operation).__name__:
        return "attention"
    for kind, classes in KINDS.items():
        if isinstance(operation, classes):
            return kind
    shapes = [weight.shape for weight in getattr(operation, "weights", [])]
    return "other" if any(sum(side > 1 for side in shape) > 1 for shape in shapes) else None


def _ordered(nodes: list[Node], edges: set[Edge], answer: int) -> tuple[list[Node], list[Edge]]:
    """Put each node behind what feeds it, the longest branch first, so that short ones stay short.

    What the answer does not need follows the last of what feeds it.
    """
    sources: list[list[int]] = [[] for _ in nodes]
    length = [0] * len(nodes)
    for b, a in sorted((b, a) for a, b in edges):
        sources[b].append(a)
        length[b] = max(length[b], length[a] + 1)
    order: list[int] = []
    queue = [answer]
    while queue:
        missing = [node for node in sources[queue[-1]] if node not in order]
        if missing:
            queue.append(max(missing, key=length.__getitem__))
        elif (node := queue.pop()) not in order:
            order.append(node)
    for node in range(len(nodes)):
        if node not in order:
            order.insert(1 + max(map(order.index, sources[node])), node)
    place = {node: i for i, node in enumerate(order)}
    return [nodes[i] for i in order], sorted((place[a], place[b]) for a, b in edges)
