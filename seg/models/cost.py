"""What one image costs, read off a traced graph: arithmetic, and memory for activations.

The graph is TensorFlow's, traced for a batch of one image with the weights as further inputs. Its
operations and tensors come as they are, so nothing of TensorFlow is imported here. What depends on
a loop, of unknown length, or on a tensor of unknown size costs NaN.

Memory is an estimate. Where a process was watched (a U-Net of 4 levels, 512 and 1024 pixels, CPU),
it grew by 15% more than `training_bytes`, and by 50% more than `inference_bytes`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

Operation = Any
Tensor = Any

# These hand on the memory that they are given.
VIEWS = {"Identity", "IdentityN", "Reshape", "Squeeze", "ExpandDims", "StopGradient"}
# These read how large a tensor is, not what is in it.
SIZES = {"Shape", "ShapeN", "Size", "Rank"}
LOOPS = {"While", "StatelessWhile", "If", "StatelessIf", "Case", "StatelessCase"}


def flops(answer: Tensor) -> float:
    """Count the arithmetic of the convolutions and matrix products that lead to a tensor.

    A multiplication and its addition are two. As everywhere, products with the zeros around a map
    count, and biases, normalizations, activations, pooling and interpolation do not.
    """
    return float(sum(_flops(operation) for operation in _behind([answer])))


def inference_bytes(image: Tensor, answer: Tensor) -> float:
    """Estimate the largest sum of tensors that are alive at once on the way to an answer.

    Operations run one by one in the order of the graph; a tensor lives from the operation that
    makes it to the last one that reads it. The image counts; weights, a convolution's workspace and
    what a compiler saves by fusing operations or computing in place do not.
    """
    needed, changing = _behind([answer]), _changing(image)
    first: dict[str, int] = {}
    last: dict[str, int] = {}
    sizes: dict[str, float] = {}
    operations = [operation for operation in changing if operation in needed]
    for time, operation in enumerate(operations):
        for place in map(_place, [*operation.inputs, *operation.outputs]):
            if place.op in changing:
                first.setdefault(place.name, time)
                last[place.name] = time
                sizes[place.name] = _bytes(place)
    alive = np.zeros(len(operations) + 1)
    for name, size in sizes.items():
        alive[first[name]] += size
        alive[last[name] + 1] -= size
    return float(alive.cumsum().max())


def training_bytes(image: Tensor, outputs: Sequence[Tensor], gradients: Sequence[Tensor]) -> float:
    """Estimate what a training step must hold between its forward and its backward pass.

    It is the sum of the forward tensors that the backward pass reads, each once: inputs of
    convolutions, outputs of activations, masks of dropout. The image counts; weights, their
    gradients and optimizer states do not, so it grows in proportion to the batch.

    Args:
        image: of the forward pass.
        outputs: of the forward pass, with all that is done in training alone.
        gradients: of the outputs by the weights.
    """
    forward = _behind(outputs)
    held = forward & _changing(image).keys()
    readers = [
        operation
        for operation in _behind(gradients) - forward
        if operation.type not in SIZES | VIEWS
    ]
    places = [_place(tensor) for operation in readers for tensor in operation.inputs]
    sizes = {place.name: _bytes(place) for place in places if place.op in held}
    return float(sum(sizes.values()))


def _behind(tensors: Iterable[Tensor]) -> set[Operation]:
    """Return the operations that tensors are computed by."""
    found: set[Operation] = set()
    queue = [tensor.op for tensor in tensors]
    while queue:
        operation = queue.pop()
        if operation not in found:
            found.add(operation)
            queue += [tensor.op for tensor in operation.inputs]
    return found


def _changing(image: Tensor) -> dict[Operation, None]:
    """Return, in order, the operations whose results depend on the image or on chance.

    The others compute with weights and constants alone, once for all images.
    """
    found: dict[Operation, None] = {}
    for operation in image.graph.get_operations():
        changes = operation is image.op or "Random" in operation.type
        if changes or any(tensor.op in found for tensor in operation.inputs):
            found[operation] = None
    return found


def _place(tensor: Tensor) -> Tensor:
    """Return the tensor whose memory a tensor is a view of: most often itself."""
    while tensor.op.type in VIEWS:
        tensor = tensor.op.inputs[tensor.value_index]
    return tensor


def _bytes(tensor: Tensor) -> float:
    return math.nan if tensor.op.type in LOOPS else _elements(tensor) * tensor.dtype.size


def _elements(tensor: Tensor) -> float:
    count = tensor.shape.num_elements()
    return math.nan if count is None else count


def _flops(operation: Operation) -> float:
    if operation.type in LOOPS:
        return math.nan
    products = PRODUCTS.get(operation.type)
    return 2 * products(operation) if products else 0


def _convolution(operation: Operation) -> float:
    """Each value of the output is a sum over kernel and inputs: the filter is (..., in, out)."""
    return _elements(_uncut(operation.outputs[0])) * math.prod(operation.inputs[1].shape[:-1])


def _depthwise(operation: Operation) -> float:
    """Each value of the output is a sum over the kernel: the filter is (y, x, in, multiplier)."""
    return _elements(_uncut(operation.outputs[0])) * math.prod(operation.inputs[1].shape[:2])


def _transposed(operation: Operation) -> float:
    """Each value of the input is spread over kernel and outputs: the filter is (..., out, in)."""
    return _elements(operation.inputs[2]) * math.prod(operation.inputs[1].shape[:-1])


def _uncut(tensor: Tensor) -> Tensor:
    """Return what a dilated convolution stands for.

    TensorFlow deals the pixels of the map, enlarged to a multiple of the dilation, out to several
    small images, convolves those, and puts them together again.
    """
    together = [reader for reader in tensor.consumers() if reader.type == "BatchToSpaceND"]
    return together[0].outputs[0] if together else tensor


def _matrix_product(operation: Operation) -> float:
    turned = operation.get_attr("transpose_a" if operation.type == "MatMul" else "adj_x")
    return _elements(operation.outputs[0]) * operation.inputs[0].shape[-2 if turned else -1]


def _einsum(operation: Operation) -> float:
    """Each value of the output is a sum over the axes that both inputs have and it has not."""
    if len(operation.inputs) < 2:
        return 0
    inward, outward = operation.get_attr("equation").decode().split("->")
    lengths = [
        _lengths(term, tensor.shape)
        for term, tensor in zip(inward.split(","), operation.inputs, strict=True)
    ]
    summed = (lengths[0].keys() & lengths[1].keys()) - set(outward)
    return _elements(operation.outputs[0]) * math.prod(lengths[0][axis] for axis in summed)


def _lengths(term: str, shape: Sequence[int]) -> dict[str, int]:
    """Return the length of each axis that a term of an einsum names: "b...c" of a shape."""
    before, _, after = term.partition("...")
    axes = [*zip(before, shape, strict=False), *zip(after[::-1], shape[::-1], strict=False)]
    return dict(axes)


PRODUCTS: dict[str, Callable[[Operation], float]] = {
    "Conv2D": _convolution,
    "Conv3D": _convolution,
    "DepthwiseConv2dNative": _depthwise,
    "Conv2DBackpropInput": _transposed,
    "Conv3DBackpropInputV2": _transposed,
    "MatMul": _matrix_product,
    "BatchMatMulV2": _matrix_product,
    "Einsum": _einsum,
}
