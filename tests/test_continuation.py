"""What may be asked anew of a run that goes on, and what may not."""

import pytest

from flaxformer_mt.config import Config, DataConfig, TrainConfig
from flaxformer_mt.continuation import continued, refuse_differences
from flaxformer_mt.errors import InputError

BEGUN = Config(train=TrainConfig(epochs=3, schedule="cosine"))


@pytest.mark.parametrize(
    "train",
    [
        TrainConfig(epochs=9, schedule="cosine"),
        TrainConfig(steps=9, schedule="cosine", keep_last=2, patience=1),
        # No clock can end a cosine, so that the schedule cannot be repeated here.
        TrainConfig(minutes=9),
    ],
    ids=["epochs", "steps", "minutes"],
)
def test_an_end_of_another_kind_is_no_other_run(train):
    refuse_differences(BEGUN, BEGUN.replace(train=train))
    asked = BEGUN.replace(train=train)
    assert continued(BEGUN, asked) is BEGUN


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        (BEGUN.replace(seed=1), r"seed was 0, is now 1\)"),
        (BEGUN.replace(train=TrainConfig(epochs=3)), "schedule was 'cosine'.*'auto'"),
        (BEGUN.replace(data=DataConfig(lowercase=True)), r"data\.lowercase was False"),
    ],
    ids=["seed", "schedule", "corpus"],
)
def test_what_would_change_the_run_is_named(asked, words):
    with pytest.raises(InputError, match=words):
        refuse_differences(BEGUN, asked)


def test_what_may_change_says_how_and_keeps_the_end_of_its_schedule():
    slower = TrainConfig(epochs=9, schedule="cosine", learning_rate=1e-4)
    asked = BEGUN.replace(train=slower)
    with pytest.raises(InputError, match="--allow-changes"):
        refuse_differences(BEGUN, asked)
    asked, told = asked.replace(allow_changes=True), []
    refuse_differences(BEGUN, asked, told.append)
    assert "not bit-identical: train.learning_rate was 0.003, is now 0.0001" in told[0]
    goes_on = continued(BEGUN, asked).train
    assert (goes_on.epochs, goes_on.learning_rate) == (3, 1e-4)
    # The seed is not of that kind.
    with pytest.raises(InputError, match=r"choose another --run\.$"):
        refuse_differences(BEGUN, asked.replace(seed=1))
