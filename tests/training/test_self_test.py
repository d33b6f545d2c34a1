"""Wrong numbers are noticed before a training begins."""

import jax
import numpy as np
import pytest

from flaxformer_mt.errors import InputError
from flaxformer_mt.training import self_test
from flaxformer_mt.training.self_test import check_numbers, make_cases

CPU = jax.devices("cpu")[0]


def test_this_machine_computes_what_numpy_computes():
    check_numbers(CPU)


@pytest.mark.parametrize("number", range(len(make_cases())))
def test_one_wrong_number_is_refused_with_what_to_install(monkeypatch, number):
    """Row N17; the numbers of jax 0.10.2 were simulated here, and seen to fail."""
    case = make_cases()[number]
    right = self_test.run_on

    def wrong(device, program, arrays):
        out = right(device, program, arrays).copy()
        if out.shape == case.expected.shape:
            out.flat[-1] += 1e-3 + 2 * case.tolerance
        return out

    monkeypatch.setattr(self_test, "run_on", wrong)
    with pytest.raises(
        InputError,
        match=rf"^jax {jax.__version__} .* on CPU: {case.what} differs from NumPy in "
        rf"1 of {case.expected.size:,} places; .*pip install",
    ):
        check_numbers(CPU)


def test_what_is_not_a_number_is_wrong(monkeypatch):
    def nan(device, program, arrays):
        return np.full(self_test.NUM_ROWS, np.nan, np.float32)

    monkeypatch.setattr(self_test, "run_on", nan)
    with pytest.raises(InputError, match="40,001 of 40,001 places"):
        check_numbers(CPU)
