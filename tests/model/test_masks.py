"""Masks are bool, True = may attend, [B|1, 1, query|1, key]."""

import jax.numpy as jnp
import numpy as np

from flaxformer_mt.model.masks import causal, causal_row, make_masks


def test_a_causal_mask_is_true_on_and_below_the_diagonal():
    np.testing.assert_array_equal(causal(3)[0, 0], [[1, 0, 0], [1, 1, 0], [1, 1, 1]])


def test_a_causal_row_is_the_row_of_the_causal_mask():
    for position in range(4):
        row = causal_row(jnp.asarray(position), 4)[0, 0, 0]
        np.testing.assert_array_equal(row, causal(4)[0, 0, position])


def test_masks_show_real_tokens_only_and_nothing_later():
    src = np.array([[True, True, False]])
    tgt = np.array([[True, True, True, False]])
    masks = make_masks(jnp.asarray(src), jnp.asarray(tgt))
    np.testing.assert_array_equal(masks.encoder[0, 0], [[1, 1, 0]])
    np.testing.assert_array_equal(masks.cross, masks.encoder)
    np.testing.assert_array_equal(
        masks.decoder[0, 0],
        [[1, 0, 0, 0], [1, 1, 0, 0], [1, 1, 1, 0], [1, 1, 1, 0]],
    )
    assert masks.decoder.dtype == bool
