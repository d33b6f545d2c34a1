"""Sums over real tokens, divided once."""

import jax.numpy as jnp
import numpy as np
import pytest

from flaxformer_mt.training.loss import Totals, cross_entropy


def test_cross_entropy_is_minus_the_log_of_the_labels_probability():
    logits = jnp.log(jnp.array([[[0.5, 0.25, 0.25], [0.1, 0.1, 0.8]]]))
    labels = jnp.array([[1, 2]])
    totals = cross_entropy(logits, labels, jnp.array([[True, True]]))
    np.testing.assert_allclose(totals.nats, -np.log(0.25) - np.log(0.8), rtol=1e-6)
    assert float(totals.num_tokens) == 2


def test_padding_counts_for_nothing_even_where_it_is_not_a_number():
    logits = jnp.array([[[0.0, 0.0], [jnp.nan, 0.0]]])
    mask = jnp.array([[True, False]])
    totals = cross_entropy(logits, jnp.array([[0, 0]]), mask)
    np.testing.assert_allclose(totals.nats, np.log(2), rtol=1e-6)
    assert float(totals.num_tokens) == 1


def test_smoothing_spreads_its_share_over_the_vocabulary():
    probabilities = np.array([0.7, 0.2, 0.1])
    logits = jnp.log(jnp.array([[probabilities]]))
    totals = cross_entropy(
        logits, jnp.array([[0]]), jnp.array([[True]]), label_smoothing=0.3
    )
    target = np.array([0.7 + 0.1, 0.1, 0.1])
    np.testing.assert_allclose(
        totals.nats, -(target * np.log(probabilities)).sum(), rtol=1e-6
    )


def test_an_epochs_loss_is_a_token_average_not_an_average_of_batches():
    short = Totals(jnp.array(4.0), jnp.array(1.0))
    long = Totals(jnp.array(9.0), jnp.array(9.0))
    assert float((short + long).mean_loss()) == pytest.approx(1.3)
    assert float(Totals(jnp.array(0.0), jnp.array(0.0)).mean_loss()) == 0
