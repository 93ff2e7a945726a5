"""Weighted sums of losses: a new mixture is a YAML file."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras
from keras import KerasTensor


@keras.saving.register_keras_serializable(package="seg")
class Mixture(keras.losses.Loss):
    """Sum over terms of weight times loss.

    Args:
        terms: by name, {"weight": float, "loss": a loss with `call` giving one value per sample};
            a term that is None is left out.
        name: shown in logs.
    """

    def __init__(self, terms: Mapping[str, Any], name: str = "mixture") -> None:
        """Refuse a mixture of nothing."""
        super().__init__(name=name, reduction="sum_over_batch_size", dtype="float32")
        self.terms = {
            key: {"weight": float(term["weight"]), "loss": term["loss"]}
            for key, term in terms.items()
            if term is not None
        }
        if not self.terms:
            raise ValueError("loss.terms must have at least one term. Received: none")

    def call(self, y_true: KerasTensor, y_pred: KerasTensor) -> KerasTensor:
        """Return the weighted sum; a term per batch, (1,), is added to every sample's."""
        return sum(
            term["weight"] * term["loss"].call(y_true, y_pred) for term in self.terms.values()
        )

    def get_config(self) -> dict:
        """Return the constructor's arguments, the losses serialised."""
        terms = {
            key: {
                "weight": term["weight"],
                "loss": keras.saving.serialize_keras_object(term["loss"]),
            }
            for key, term in self.terms.items()
        }
        return {"name": self.name, "terms": terms}

    @classmethod
    def from_config(cls, config: dict) -> Mixture:
        """Rebuild the losses of `get_config`."""
        terms = {
            key: term | {"loss": keras.saving.deserialize_keras_object(term["loss"])}
            for key, term in config["terms"].items()
        }
        return cls(terms=terms, name=config["name"])
