"""What is computed where: a machine with a GPU can be told to leave it alone."""

import jax
import pytest

from flaxformer_mt.model.processor import on_cpu


class Gpu:
    platform = "gpu"


@pytest.mark.parametrize(
    ("chosen", "backend", "expected"),
    [
        *((None, "cpu", True), (None, "gpu", False)),
        *(("cpu", "gpu", True), ("cuda", "gpu", False), (Gpu(), "gpu", False)),
    ],
)
def test_the_chosen_device_computes_and_else_the_best_there_is(
    monkeypatch, chosen, backend, expected
):
    monkeypatch.setattr("flaxformer_mt.model.processor.jax", Jax(chosen, backend))
    assert on_cpu() == expected


class Jax:
    """As much of JAX as is asked."""

    def __init__(self, chosen, backend):
        self.config = type("Config", (), {"jax_default_device": chosen})
        self.default_backend = lambda: backend


def test_it_is_asked_of_the_device_of_this_process():
    with jax.default_device(jax.devices("cpu")[0]):
        assert on_cpu()
