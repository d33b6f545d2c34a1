"""Sizes by name, printed and overridden."""

import json

import pytest

from flaxformer_mt.config import Config
from flaxformer_mt.errors import InputError
from flaxformer_mt.presets import PRESETS, describe_presets, preset
from flaxformer_mt.train import train

SIZES = {
    "tutorial": (64, 256, 8, 2, 2),
    "tiny": (128, 256, 4, 4, 4),
    "small": (256, 1024, 4, 4, 4),
    "base": (512, 2048, 8, 6, 6),
    "big": (1024, 4096, 16, 6, 6),
}


def shown(capsys, *arguments):
    train([*arguments, "--show-config"])
    return json.loads(capsys.readouterr().out)


@pytest.mark.parametrize("name", SIZES)
def test_a_preset_has_the_sizes_of_its_name(name):
    model = preset(name).model
    assert SIZES[name] == (
        *(model.d_model, model.d_ff, model.num_heads),
        *(model.num_encoder_layers, model.num_decoder_layers),
    )
    assert name in describe_presets()


def test_the_default_is_the_starter(capsys):
    assert preset("starter") == Config()
    assert shown(capsys) == shown(capsys, "--preset", "starter")


def test_every_value_of_a_preset_can_be_given_otherwise(capsys):
    plain = shown(capsys, "--preset=tiny")
    changed = shown(capsys, "--preset", "tiny", "--model.d-model", "64")
    assert (plain["model"]["d_model"], changed["model"]["d_model"]) == (128, 64)
    changed["model"]["d_model"] = 128
    assert changed == plain


@pytest.mark.parametrize(
    ("end", "schedule"),
    [("steps", "cosine"), ("minutes", "auto"), ("epochs", "cosine")],
)
def test_an_end_of_ones_own_takes_the_place_of_the_presets(capsys, end, schedule):
    train_options = shown(capsys, "--preset", "tiny", f"--train.{end}", "3")["train"]
    ends = {name: train_options[name] for name in ("epochs", "steps", "minutes")}
    assert ends == {"epochs": 0, "steps": 0, "minutes": 0, end: 3}
    assert train_options["schedule"] == schedule


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--preset", "tinny"], "did you mean 'tiny'"),
        (["--preset"], "must be followed by a name"),
    ],
)
def test_an_unknown_preset_is_one_sentence(arguments, words):
    with pytest.raises(InputError, match=words):
        train(arguments)


def test_each_preset_says_what_it_is_for():
    assert all(what and "\n" not in what for what, _, _ in PRESETS.values())
