"""How many parts a device makes of its rows."""

import dataclasses

import numpy as np
import pytest

from flaxformer_mt.config import ModelConfig
from flaxformer_mt.presets import preset
from flaxformer_mt.text.batching import Batch
from flaxformer_mt.training.parts import FREE_BYTES, bytes_kept, parts_of


def batch_of(rows: int, source: int, target: int) -> Batch:
    ids, real = np.zeros((rows, target), int), np.zeros((rows, target), bool)
    return Batch(np.zeros((rows, source), int), real, ids, ids, real)


@pytest.fixture
def cfg() -> ModelConfig:
    return preset("tutorial").model


def test_what_fits_is_one_part_unless_more_are_asked_for(cfg):
    small = batch_of(4, 32, 32)
    assert bytes_kept(small, cfg) < FREE_BYTES
    assert parts_of(small, cfg, 10**5) == 1
    assert parts_of(small, cfg, 10**5, fewest=3) == 3
    assert parts_of(small, cfg, 10**5, fewest=9) == 4  # not more than rows


def test_a_large_batch_is_divided_more_and_a_large_model_less(cfg):
    rows = [parts_of(batch_of(n, 64, 64), cfg, 10**5) for n in (16, 64, 256)]
    assert 1 < rows[0] < rows[1] < rows[2]
    few = parts_of(batch_of(64, 64, 64), cfg, 10**8)
    assert 1 <= few < rows[1]
    more = rows[1] + 5  # what is asked for is kept to
    assert parts_of(batch_of(64, 64, 64), cfg, 10**5, fewest=more) == more
    deep = dataclasses.replace(cfg, num_encoder_layers=8)
    assert parts_of(batch_of(64, 64, 64), deep, 10**5) > rows[1]


@pytest.mark.parametrize("rows", [1, 2, 6])
def test_a_very_large_model_takes_its_few_rows_at_once(cfg, rows):
    wide = dataclasses.replace(cfg, d_model=1024)
    batch = batch_of(rows, 128, 128)
    assert bytes_kept(batch, wide) > FREE_BYTES
    assert parts_of(batch, wide, 10**10) == 1


@pytest.mark.parametrize("rows", [32, 37, 61, 64])
def test_few_rows_fill_up_the_last_part(cfg, rows):
    parts = parts_of(batch_of(rows, 64, 64), cfg, 10**5)
    assert parts * -(-rows // parts) - rows <= 4


def test_a_gpu_takes_all_rows_at_once(cfg, monkeypatch):
    monkeypatch.setattr("flaxformer_mt.training.parts.on_cpu", lambda: False)
    assert parts_of(batch_of(512, 128, 128), cfg, 10**5) == 1
    assert parts_of(batch_of(512, 128, 128), cfg, 10**5, fewest=4) == 4
