"""Facts about `seg.models.swin`: what it computes, what it drops, what it refuses."""

import numpy as np
import pytest

from seg.models.swin import WindowAttention, swin

SMALL = {"embed_dim": 8, "depths": (2, 2), "heads": (1, 2), "window": 4}


def moved_HW(attention: WindowAttention, side: int, row: int, column: int) -> np.ndarray:
    """Where the output changes when one token of a `side` x `side` map does: bool."""
    before_BHWC = np.random.default_rng(1).normal(size=(1, side, side, 12)).astype("float32")
    after_BHWC = before_BHWC.copy()
    after_BHWC[0, row, column] += 3
    return np.any(np.array(attention(before_BHWC)) != np.array(attention(after_BHWC)), axis=-1)[0]


def segment(index: int, cuts: list[int]) -> range:
    """The run between two neighbouring cuts that holds `index`."""
    return next(range(a, b) for a, b in zip(cuts, cuts[1:], strict=False) if a <= index < b)


@pytest.mark.parametrize(("shift", "cuts"), [(0, [0, 4, 8, 12]), (2, [0, 2, 6, 10, 12])])
def test_attention_stays_between_the_cuts(shift: int, cuts: list[int]) -> None:
    """A token moves its whole window and nothing else; a shift also cuts at the map's border."""
    attention = WindowAttention(heads=2, window=4, shift=shift)
    for row, column in [(0, 0), (1, 11), (3, 4), (5, 6), (11, 11), (11, 1)]:
        expected_HW = np.zeros((12, 12), bool)
        expected_HW[np.ix_(segment(row, cuts), segment(column, cuts))] = True
        np.testing.assert_array_equal(moved_HW(attention, 12, row, column), expected_HW)


def test_windows_are_moved_in_training_as_they_are_afterwards() -> None:
    attention = WindowAttention(heads=1, window=4, shift=2)
    qkv_BHWC = np.random.default_rng(0).random((2, 8, 12, 6), dtype=np.float32)
    answers = [np.asarray(attention(qkv_BHWC, training=training)) for training in (True, False)]
    np.testing.assert_allclose(*answers, atol=1e-6)


def test_attention_equals_softmax_by_hand() -> None:
    """One window, one head: softmax(q k / sqrt(D) + bias of the offset) v, in a loop."""
    attention = WindowAttention(heads=1, window=2)
    qkv_BHWC = np.random.default_rng(2).normal(size=(1, 2, 2, 9)).astype("float32")
    output_TD = np.array(attention(qkv_BHWC)).reshape(4, 3)
    q_TD, k_TD, v_TD = np.split(qkv_BHWC.reshape(4, 9), 3, axis=-1)
    (bias_PPh,) = attention.get_weights()
    for here in range(4):
        score_T = [
            q_TD[here] @ k_TD[there] / np.sqrt(3)
            + bias_PPh[here // 2 - there // 2 + 1, here % 2 - there % 2 + 1, 0]
            for there in range(4)
        ]
        weight_T = np.exp(score_T) / np.sum(np.exp(score_T))
        np.testing.assert_allclose(output_TD[here], weight_T @ v_TD, rtol=1e-5, atol=1e-6)


def test_every_second_block_is_shifted_unless_one_window_covers_the_map(undrawn: None) -> None:
    """Maps are 8 x 8 and 4 x 4, the window is 4."""
    model = swin((32, 32, 3), **SMALL)
    shifts = {layer.name: layer.shift for layer in model.layers if hasattr(layer, "shift")}
    assert shifts == {
        "encoder0_attention0": 0,
        "encoder0_attention1": 2,
        "bottleneck_attention0": 0,
        "bottleneck_attention1": 0,
        "decoder0_attention0": 0,
        "decoder0_attention1": 2,
    }


def test_a_map_need_not_be_square(undrawn: None) -> None:
    """Height and width are tiled separately."""
    assert swin((32, 64, 1), **SMALL).output_shape == (None, 32, 64, 1)


def test_dropout_acts_after_the_embedding_each_attention_and_both_layers_of_each_mlp(
    undrawn: None,
) -> None:
    """Six blocks: two in the encoder, the bottleneck and the decoder each."""
    drops = [
        x for x in swin((32, 32, 3), dropout=0.25, **SMALL).layers if hasattr(x, "noise_shape")
    ]
    assert [drop.rate for drop in drops if not drop.noise_shape] == [0.25] * (1 + 6 * 3)


def test_stochastic_depth_drops_whole_branches_of_single_images() -> None:
    """Rates grow from block to block; what is kept is scaled up; inference drops nothing."""
    model = swin((32, 32, 3), drop_path=0.5, **SMALL)
    drops = [layer for layer in model.layers if getattr(layer, "noise_shape", None)]
    assert [drop.rate for drop in drops[:8:2]] == pytest.approx([0, 0.5 / 3, 1 / 3, 0.5])
    ones_BHWC = np.ones((64, 4, 4, 16), "float32")
    kept_BHWC = np.array(drops[7](ones_BHWC, training=True))
    assert set(np.unique(kept_BHWC)) == {0.0, 2.0}
    assert (np.ptp(kept_BHWC, axis=(1, 2, 3)) == 0).all()
    np.testing.assert_array_equal(np.array(drops[7](ones_BHWC, training=False)), ones_BHWC)


@pytest.mark.parametrize(
    ("size", "settings", "received", "remedy"),
    [
        (200, {}, "multiple of 224 .* Received: 200x200", "dataset.image_size=224$"),
        (500, {}, "multiple of 224 .* Received: 500x500", "dataset.image_size=448$"),
        (256, {}, "multiple of 224 .* Received: 256x256", "image_size=224 or model.window=8$"),
        (32, {"window": 8}, "multiple of 256 .* Received: 32x32", "dataset.image_size=256$"),
        (224, {"heads": (3, 6)}, r"Received: heads=\[3, 6\]", r"model.heads=\[1, 2, 4, 8\]$"),
        (224, {"embed_dim": 100}, "embed_dim=100", r"model.heads=\[1, 2, 4, 8\]$"),
    ],
)
def test_misfits_are_refused_with_the_remedy(
    size: int, settings: dict, received: str, remedy: str
) -> None:
    """The sentence names the key, the value received and what to type."""
    with pytest.raises(ValueError, match=f"{received}.*; type .*{remedy}"):
        swin((size, size, 3), **settings)


def test_the_remedy_of_another_window_works(undrawn: None) -> None:
    """As the refusal of 256 x 256 says."""
    assert swin((256, 256, 1), window=8, embed_dim=3, depths=(1, 1, 1, 1)).output_shape[1] == 256


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"window": 0}, "window must be 1 or more. Received: 0"),
        ({"patch_size": 0}, "patch_size must be 2 or more. Received: 0"),
        ({"depths": (), "heads": ()}, "the number of depths must be 1 or more. Received: 0"),
        ({"depths": (0, 2), "heads": (2, 4)}, "each of depths must be 1 or more. Received: 0"),
        ({"heads": (0, 2, 4, 8)}, "each of heads must be 1 or more. Received: 0"),
    ],
)
def test_numbers_below_sense_are_refused(settings: dict, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        swin((256, 256, 1), **settings)


def test_a_free_size_is_refused() -> None:
    with pytest.raises(ValueError, match="must be fixed.* Received: NonexNone; type dataset"):
        swin((None, None, 1))
