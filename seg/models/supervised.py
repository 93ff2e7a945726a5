"""Deep supervision: decoder stages that learn from the mask too, and are silent afterwards.

Source: Lee et al. 2015, arXiv 1409.5185.
"""

from __future__ import annotations

import keras
from keras import KerasTensor, ops


@keras.saving.register_keras_serializable(package="seg")
class DeeplySupervised(keras.Model):
    """A functional model of several outputs, all logits (B, H, W, classes), the first the answer.

    In training it gives all of them, and the loss is the mean over outputs, each with a weight of
    one, so that its size stays that of a loss of one output. Otherwise it gives the answer alone:
    validation, metrics and predictions never see the others.
    """

    def call(
        self, inputs: KerasTensor, training: bool | None = None, mask: None = None
    ) -> list[KerasTensor] | KerasTensor:
        """Return all outputs in training, else the first."""
        outputs = super().call(inputs, training=training, mask=mask)
        return outputs if training else outputs[0]

    def compute_loss(
        self,
        x: KerasTensor = None,
        y: KerasTensor = None,
        y_pred: list[KerasTensor] | KerasTensor = None,
        sample_weight: KerasTensor = None,
        training: bool = True,
    ) -> KerasTensor:
        """Average the compiled loss over the outputs."""
        outputs = y_pred if isinstance(y_pred, list) else [y_pred]
        losses = [
            super(DeeplySupervised, self).compute_loss(x, y, output, sample_weight, training)
            for output in outputs
        ]
        return ops.mean(ops.stack(losses))

    def compute_metrics(
        self,
        x: KerasTensor,
        y: KerasTensor,
        y_pred: list[KerasTensor] | KerasTensor,
        sample_weight: KerasTensor = None,
    ) -> dict[str, KerasTensor]:
        """Watch the answer alone."""
        answer = y_pred[0] if isinstance(y_pred, list) else y_pred
        return super().compute_metrics(x, y, answer, sample_weight)

    def answering(self) -> keras.Model:
        """Return the model that gives the first output, without what only the others need."""
        return keras.Model(self.input, self.outputs[0], name=self.name)


def supervised(
    inputs: KerasTensor, outputs: list[KerasTensor], deep_supervision: bool, name: str
) -> keras.Model:
    """Build a model of the first output, or one that learns from all of them, if there are more."""
    if deep_supervision and len(outputs) > 1:
        return DeeplySupervised(inputs, outputs, name=name)
    return keras.Model(inputs, outputs[0], name=name)
