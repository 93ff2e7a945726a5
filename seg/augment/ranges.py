"""What transforms draw: a generator for each sample, numbers from ranges."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np


def generator(seed: int, k: int, stream: int = 0) -> np.random.Generator:
    """Return the random numbers of sample k: independent of those of any other (seed, k, stream).

    Philox is counter-based (Salmon et al. 2011, doi 10.1145/2063384.2063405): no state is shared,
    so that samples can be drawn in any order and by any thread.
    """
    return np.random.Generator(np.random.Philox(key=[seed, k], counter=[0, 0, 0, stream]))


def uniform(rng: np.random.Generator, between: Sequence[float]) -> float:
    """Draw a number from a range (lowest, highest)."""
    return rng.uniform(*between)


def require_range(
    name: str, between: Sequence[float], least: float = -math.inf, most: float = math.inf
) -> None:
    """Refuse what is no range [lowest, highest] within `least` and `most`.

    Raises:
        ValueError: names the argument and what it was.
    """
    pair = list(between)
    if len(pair) != 2 or not least <= pair[0] <= pair[1] <= most:
        bounds = "" if least == -math.inf else f" of {least:g} or more"
        bounds = bounds if most == math.inf else f" within {least:g}..{most:g}"
        raise ValueError(f"{name} must be [lowest, highest]{bounds}. Received: {pair}")
