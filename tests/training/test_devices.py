"""Devices by name, and a guard against versions that compute wrong numbers."""

import jax
import pytest

from flaxformer_mt.errors import InputError
from flaxformer_mt.training.devices import (
    check_versions,
    choose_device,
    describe_device,
)


def test_a_version_that_is_silently_wrong_is_refused():
    """Rows N17 and P1: the sentence names the fix."""
    check_versions()
    with pytest.raises(InputError, match=r"pip install 'jax>=0.10.1,!=0.10.2'"):
        check_versions("0.10.2")


def test_the_cpu_is_there_and_named():
    assert describe_device(choose_device("cpu")) == "CPU"
    assert choose_device("auto") == jax.devices()[0]


@pytest.mark.skipif(jax.default_backend() == "gpu", reason="there is a GPU here")
def test_a_gpu_that_is_not_there_is_one_sentence():
    """Row P2."""
    with pytest.raises(InputError, match="found only CPU: install the extra 'cuda'"):
        choose_device("gpu")
