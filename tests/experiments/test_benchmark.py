"""What the benchmark counts and compares; how long things take is no test."""

import dataclasses

import pytest

from experiments import benchmark
from experiments.benchmark import CASES, Case, Training, operations, random_batch
from flaxformer_mt.config import ModelConfig
from flaxformer_mt.text.batching import Shape
from tests.conftest import tiny_config

SIZES = {"src_vocab_size": 40, "tgt_vocab_size": 50}


def full_batch(rows: int, width: int):
    """Without any padding."""
    batch = random_batch(Shape(rows, width, width), 40, smallest=1)
    assert batch.src_mask.all() and batch.tgt_mask.all()
    return batch


def test_the_operations_of_a_step_are_those_of_its_matrices():
    cfg = ModelConfig(
        **SIZES,
        max_length=16,
        d_model=16,
        d_ff=32,
        num_heads=2,
        num_encoder_layers=1,
        num_decoder_layers=1,
    )
    # Two tokens on each side: query, key, value and output, the two layers of the
    # feed-forward part; and the decoder's second attention, whose keys and values are
    # the source's.
    encoder = 4 * 16 * 16 + 2 * 16 * 32
    decoder = encoder + 4 * 16 * 16
    products = 2 * 6 * (encoder + decoder + 16 * 50)
    # Of the four places of the decoder's own, half are in the future.
    attention = 12 * 16 * (4 + 2 + 4)
    assert operations(cfg, full_batch(1, 2)) == products + attention


def test_padding_is_no_work_that_has_to_be_done():
    cfg = tiny_config(**SIZES)
    batch = full_batch(2, 6)
    wider = [
        [[*row, *[0] * 10] for row in array.tolist()]
        for array in (batch.src_mask, batch.tgt_mask)
    ]
    padded = batch._replace(
        src_mask=benchmark.np.array(wider[0], bool),
        tgt_mask=benchmark.np.array(wider[1], bool),
    )
    assert operations(cfg, padded) == operations(cfg, batch)


def test_xla_counts_about_as_many_operations():
    cfg = tiny_config(**SIZES, d_model=64, d_ff=128)
    training, batch = Training(cfg, rows=1), full_batch(4, 16)
    training.run([batch])
    counted = 1e9 * training.costs()["gflop_a_device"]
    # Beside the products there are sums, norms, dropout and Adam.
    assert 0.8 < operations(cfg, batch) / counted < 1.2


def test_our_training_is_that_of_a_run(monkeypatch):
    training, batch = Training(tiny_config(**SIZES), rows=1), full_batch(2, 6)
    first = training.run([batch])
    for _ in range(20):
        last = training.run([batch])
    assert last < first
    training.begin()
    assert training.run([batch]) == first
    assert list(training.programs) == [(2, 6, 6)]


def test_a_gpus_cases_are_each_preset_in_both_precisions():
    setting = benchmark.Setting("python", 3, False, None, "gpu")
    cases = benchmark.step_cases(setting)
    found = {(case.preset, dtype) for case, dtype in cases.values()}
    presets = ("tutorial", "tiny", "small", "base")
    assert found == {(p, d) for p in presets for d in ("float32", "bfloat16")}
    some = benchmark.step_cases(dataclasses.replace(setting, cases=("base", "bf")))
    assert list(some) == ["step, base, 384 x 64, bfloat16"]
    assert some["step, base, 384 x 64, bfloat16"][0].bar == 1.2


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ("--cases nonsense", "there are: step, tutorial, 1 x 128; step, tutorial, 64"),
        ("--repeats 0 --quick", "--repeats must be 1 or more; got 0"),
        ("--only epoch", "epoch and loss need --tatoeba"),
        ("--device gpu --here rate", "--device gpu needs a GPU that JAX can use"),
    ],
)
def test_what_cannot_be_measured_is_told_in_a_sentence(
    monkeypatch, capsys, arguments, said
):
    monkeypatch.setattr("sys.argv", ["benchmark", *arguments.split()])
    monkeypatch.setattr("os.environ", {**benchmark.os.environ})
    with pytest.raises(SystemExit) as ended:
        benchmark.main()
    assert ended.value.code == 2
    assert said in capsys.readouterr().err


def test_training_in_bfloat16_learns_and_keeps_its_parameters_in_float32():
    """As on a GPU, as far as a CPU can tell."""
    training = Training(tiny_config(**SIZES), rows=1, dtype=benchmark.jnp.bfloat16)
    batch = full_batch(2, 6)
    first = training.run([batch])
    for _ in range(20):
        last = training.run([batch])
    assert last < first
    leaves = benchmark.jax.tree.leaves(training.state.params)
    assert {leaf.dtype for leaf in leaves} == {benchmark.jnp.dtype("float32")}


def test_a_ratio_is_that_of_neighbouring_runs():
    # The machine slowed down on its way: each pair of neighbours tells the same.
    seconds = {"ours": [1.0, 2.0, 4.0], "eager": [3.0, 6.0, 12.0]}
    found = benchmark.compare(seconds, each=2)
    assert found["times_as_fast"] == {"eager": 3.0}
    assert found["quarters"] == {"eager": [3.0, 3.0]}
    assert found["ms"]["ours"] == 1000.0


def test_the_table_has_a_row_for_each_that_was_beside_us():
    seconds = {"ours": [1.0] * 3, "eager": [2.0] * 3, "compile": [3.0] * 3}
    case = {**benchmark.compare(seconds), "bar": 1.3}
    rows = list(benchmark.rows_of("step", {"peer": {}, "a case": case}))
    assert [(row[0], row[2], row[3], row[5]) for row in rows] == [
        ("step: a case", "eager", "2.00", "1.3"),
        ("step: a case", "compile", "3.00", "1.3"),
    ]
    share = {"share_of_matrix_rate": 0.341, "step_ms": 9.5, "bar": 0.35}
    [row] = benchmark.rows_of("rate", share)
    assert row[3] == "34%" and row[5] == "35%"


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_batches_of_a_case_have_its_shape_and_their_seed(case: Case):
    _, vocab_size = benchmark.model_config(case.preset)
    batches = [random_batch(case.shape, vocab_size, seed) for seed in (0, 0, 1)]
    assert batches[0].src_ids.shape == (case.shape.rows, case.shape.src_width)
    assert (batches[0].src_ids == batches[1].src_ids).all()
    assert (batches[0].src_ids != batches[2].src_ids).any()
    # One row has the whole width: no narrower shape would do.
    assert batches[0].tgt_mask.any(axis=0).all()


def test_presets_are_measured_as_they_are_trained():
    cfg, _ = benchmark.model_config("tiny")
    assert cfg.dropout_rate > 0
    assert dataclasses.replace(cfg, src_vocab_size=0, tgt_vocab_size=0) == (
        benchmark.preset("tiny").model
    )


def test_the_picture_shows_what_was_measured_and_leaves_out_what_was_not():
    times = {"times_as_fast": {"eager": 2.0, "tutorial": 10.0}}
    results = {
        "step": {"date": "2026-11-28", "tutorial, 64 x 48/64": times},
        "translate": {"one": times},
    }
    shown = benchmark.times_as_fast(results)
    assert [name.replace("\n", " ") for name in shown] == [
        "a step, tutorial, 64 x 48/64",
        "one sentence translated",
    ]
    assert {tuple(bars.values()) for bars in shown.values()} == {(2.0, 10.0)}
