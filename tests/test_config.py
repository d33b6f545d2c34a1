"""Options are checked where they are made, and a typo gets a suggestion."""

import dataclasses
import json

import pytest

from flaxformer_mt.config import Config, DataConfig, ModelConfig, TrainConfig
from flaxformer_mt.errors import InputError


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (lambda: ModelConfig(d_model=10, num_heads=4), "got d_model=10, num_heads=4"),
        (lambda: ModelConfig(d_model=9, num_heads=3), "must be even"),
        (lambda: ModelConfig(num_heads=0), "num_heads must be at least 1; got 0"),
        (lambda: ModelConfig(d_ff=-1), "d_ff must be at least 1; got -1"),
        (lambda: ModelConfig(num_encoder_layers=0), "num_encoder_layers must be"),
        (lambda: ModelConfig(max_length=1), "max_length must be at least 2"),
        (lambda: ModelConfig(dropout_rate=1.0), "below 1; got 1.0"),
        (lambda: ModelConfig(dropout_rate=-0.1), "got -0.1"),
        (lambda: ModelConfig(dropout_rate=float("nan")), "must be a finite number"),
        (lambda: ModelConfig(src_vocab_size=-1), "src_vocab_size must be"),
        (lambda: TrainConfig(learning_rate=0.0), "learning_rate must be above 0"),
        (lambda: TrainConfig(learning_rate=-1.0), "got -1.0"),
        (lambda: TrainConfig(learning_rate=float("inf")), "must be a finite number"),
        (lambda: TrainConfig(batch_sentences=0), "batch_sentences must be at least 1"),
        (lambda: TrainConfig(batch_tokens=-1), "batch_tokens must be 0 or more"),
        (
            lambda: TrainConfig(epochs=-1),
            "epochs must be above 0, or 0 for not given; got -1",
        ),
        (
            lambda: TrainConfig(epochs=1, steps=2),
            "got train.epochs=1 and train.steps=2",
        ),
        (lambda: TrainConfig(label_smoothing=1.0), "label_smoothing must be"),
        (lambda: TrainConfig(max_bad_updates=0), "max_bad_updates must be at least 1"),
        (lambda: DataConfig(src="a.tsv:0"), "got only data.src"),
        (lambda: DataConfig(validation_fraction=1.0), "below 1; got 1.0"),
        (
            lambda: DataConfig(validation_fraction=0.6, test_fraction=0.5),
            "must leave pairs to train on",
        ),
        (lambda: DataConfig(limit_pairs=-1), "limit_pairs must be 0"),
        (lambda: DataConfig(pad="<EOS>"), "four different"),
        (lambda: DataConfig(unk=""), "two characters or more"),
        (lambda: DataConfig(pad="_"), "two characters or more"),
        (
            lambda: TrainConfig(schedule="cosine", minutes=1.0),
            "needs an end in epochs or steps",
        ),
        (lambda: Config(seed=-1), "seed must be at least 0"),
        (lambda: Config(run=" "), "run must name a folder"),
    ],
)
def test_a_value_out_of_range_is_one_sentence(make, expected):
    with pytest.raises(InputError) as caught:
        make()
    assert expected in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_config_survives_json_without_the_machines_part():
    config = Config(
        run="weights/mine",
        seed=3,
        device="cpu",
        data=DataConfig(src="a.tsv:0", tgt="a.tsv:1", lowercase=True),
        train=TrainConfig(minutes=2.5),
    )
    fields = json.loads(json.dumps(config.to_dict()))
    assert "run" not in fields and "device" not in fields
    again = Config.from_dict(fields, run="elsewhere")
    assert again == dataclasses.replace(config, run="elsewhere", device="auto")


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"sead": 1}, "unknown key 'sead'; did you mean 'seed'?"),
        (
            {"train": {"lerning_rate": 1.0}},
            "unknown key 'train.lerning_rate'; did you mean 'learning_rate'?",
        ),
        ({"model": {"d_model": "64"}}, "model.d_model must be of type int; got '64'"),
        (
            {"model": {"norm": "pst"}},
            "must be one of pre, post; got 'pst'; did you mean",
        ),
        ({"model": 3}, "model. must be a table of options; got 3"),
        ({"format": 99}, "config of format 99"),
        ({"seed": True}, "seed must be of type int; got True"),
        ({"train": {"learning_rate": -1}}, "learning_rate must be above 0"),
    ],
)
def test_a_saved_config_is_read_strictly(change, expected):
    with pytest.raises(InputError) as caught:
        Config.from_dict({**Config().to_dict(), **change}, run="r")
    assert expected in str(caught.value)


def test_the_budget_is_the_one_that_was_given():
    assert TrainConfig(steps=7).budget == ("steps", 7)
    assert TrainConfig(minutes=1.5).budget == ("minutes", 1.5)
    kind, amount = TrainConfig().budget
    assert kind == "epochs" and amount > 0
