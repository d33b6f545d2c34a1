"""Sums over real tokens, divided once."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from flaxformer_mt.model import layer_norm
from flaxformer_mt.training import loss as loss_room
from flaxformer_mt.training.loss import Totals, cross_entropy, output_loss


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


@pytest.mark.parametrize("on_cpu", [True, False])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize(
    ("rows", "length", "size", "at_a_time", "share"),
    [
        *((4, 5, 9, 1024, 0.8), (6, 7, 50, 7, 0.8)),  # one piece, even ones
        *((4, 17, 333, 12, 0.8), (4, 17, 333, 12, 0.1)),  # a rest, few real positions
        *((4, 17, 333, 12, 1.0), (4, 17, 333, 12, 0.0)),
    ],
)
def test_the_loss_in_pieces_is_that_of_all_logits_at_once(
    monkeypatch, rows, length, size, at_a_time, share, smoothing, on_cpu
):
    """In value and in all three gradients, padding left out on a CPU."""
    monkeypatch.setattr(loss_room, "ROWS_AT_A_TIME", at_a_time)
    monkeypatch.setattr(loss_room, "SMALL_LOGITS", 1 << 9)
    monkeypatch.setattr(loss_room, "SMALL_ON_A_GPU", at_a_time * size)
    for room in (loss_room, layer_norm):
        monkeypatch.setattr(room, "on_cpu", lambda: on_cpu)
    rng = np.random.default_rng(0)
    d_model = 8
    hidden, kernel, bias = (
        jnp.asarray(rng.normal(size=shape), jnp.float32)
        for shape in ((rows, length, d_model), (d_model, size), (size,))
    )
    labels = jnp.asarray(rng.integers(0, size, (rows, length)))
    mask = jnp.asarray(rng.random((rows, length)) < share)

    def in_pieces(hidden, kernel, bias):
        return output_loss(hidden, kernel, bias, labels, mask, smoothing)

    def at_once(hidden, kernel, bias):
        logits = hidden @ kernel + bias[None, None]
        totals = cross_entropy(logits, labels, mask, label_smoothing=smoothing)
        return totals.nats, cross_entropy(logits, labels, mask)

    (a, totals_a), grads_a = jax.value_and_grad(in_pieces, (0, 1, 2), has_aux=True)(
        hidden, kernel, bias
    )
    (b, totals_b), grads_b = jax.value_and_grad(at_once, (0, 1, 2), has_aux=True)(
        hidden, kernel, bias
    )
    without_gradient, _ = in_pieces(hidden, kernel, bias)
    np.testing.assert_allclose([a, without_gradient], [b, b], rtol=1e-5)
    np.testing.assert_allclose(totals_a.nats, totals_b.nats, rtol=1e-5)
    assert float(totals_a.num_tokens) == float(mask.sum())
    for x, y in zip(grads_a, grads_b, strict=True):
        np.testing.assert_allclose(x, y, rtol=1e-4, atol=1e-5)


def test_pieces_without_a_real_position_are_not_computed(monkeypatch):
    """Seen from a padded row that is no number: it is in no piece."""
    monkeypatch.setattr(loss_room, "ROWS_AT_A_TIME", 4)
    monkeypatch.setattr(loss_room, "SMALL_LOGITS", 0)
    rows = loss_room._rows_of(
        jnp.ones((2, 8, 3)),
        jnp.zeros((2, 8), int),
        jnp.arange(16).reshape(2, 8) % 4 == 1,
        9,
    )
    assert rows.pieces == 4
    seen = rows.over_pieces(lambda number, sums: sums + 1, jnp.zeros((), int))
    assert int(seen) == 1  # four real positions of sixteen
    first, second = (rows.piece(jnp.array(number))[2] for number in (0, 1))
    assert bool(first.all()) and not bool(second.any())


def test_a_gpu_takes_pieces_in_order_and_few(monkeypatch):
    """It would have to ask the host how many of sorted ones are needed."""
    monkeypatch.setattr(loss_room, "on_cpu", lambda: False)
    monkeypatch.setattr(loss_room, "SMALL_ON_A_GPU", 50)
    real = jnp.arange(16).reshape(2, 8) % 4 == 1
    hidden, labels = jnp.ones((2, 8, 3)), jnp.arange(16).reshape(2, 8)
    rows = loss_room._rows_of(hidden, labels, real, 9)
    assert rows.pieces == 3 and rows.place is None  # 16 * 9 numbers, 50 at a time
    assert rows.label_ids.tolist() == [*range(16), 0, 0]
    assert int(rows.over_pieces(lambda number, n: n + 1, jnp.zeros((), int))) == 3
    assert rows.back(jnp.arange(18.0)[:, None], (2, 8, 1))[1, 7, 0] == 15
