"""Runs that older versions have saved still load and go on (row C28).

tests/data/run-FORMAT is a run as a version wrote it. When a format changes, the old
folder stays, the code that reads it is added, and a new folder is made beside it:

    python -m tests.test_formats tests/data/run-NEW
"""

import hashlib
import os
import shutil
import sys
from pathlib import Path

import pytest

from flaxformer_mt.config import Config, DataConfig, ModelConfig, TrainConfig
from flaxformer_mt.decoding.translator import Translator
from flaxformer_mt.train import fit
from flaxformer_mt.training.checkpoints import load_params, saved_steps
from flaxformer_mt.training.run_folder import RunFolder
from tests.conftest import leaves

HERE = Path(__file__).parent / "data"
# SHA-256 over the parameters of the latest step, as they were when they were saved. It
# never changes: a run that loads with another one was read wrongly.
SAVED = {
    # Without a seal on the pairs that were kept out of training.
    "run-1": "798eac4dc8ddf9b9afd27adf1bee8e3e8f0bdbe157eab882e1d60216852b3ce4",
    "run-2": "798eac4dc8ddf9b9afd27adf1bee8e3e8f0bdbe157eab882e1d60216852b3ce4",
}


def digest(run: Path) -> str:
    """SHA-256 over the parameters of the latest step."""
    sha = hashlib.sha256()
    for leaf in leaves(load_params(run, "latest").params):
        sha.update(leaf.tobytes())
    return sha.hexdigest()


def config_of(run: Path) -> Config:
    """The smallest training that has every kind of state."""
    return Config(
        run=str(run),
        device="cpu",
        data=DataConfig(src="pairs.tsv:0", tgt="pairs.tsv:1", validation_fraction=0.2),
        model=ModelConfig(
            max_length=12,
            d_model=4,
            d_ff=4,
            num_heads=1,
            num_encoder_layers=1,
            num_decoder_layers=1,
        ),
        train=TrainConfig(steps=2, batch_sentences=8, max_shapes=1, ema=0.5),
    )


@pytest.mark.parametrize("name", SAVED)
def test_a_run_of_an_older_version_loads_and_goes_on(
    tmp_path, name, monkeypatch, capsys
):
    monkeypatch.chdir(HERE)
    run = tmp_path / name
    shutil.copytree(HERE / name, run)
    assert digest(run) == SAVED[name]
    assert isinstance(Translator.load(str(run)).translate("a b"), str)
    assert RunFolder.of(str(run)).held_out("validation")
    fitted = fit(config_of(run), more_steps=1)
    assert "resumed from step 2" in capsys.readouterr().err
    assert (fitted.step, saved_steps(run)[-1]) == (3, 3)
    assert [entry["step"] for entry in fitted.history] == [2, 3]


if __name__ == "__main__":
    folder = Path(sys.argv[1]).absolute()
    os.chdir(HERE)
    fit(config_of(folder), verbose=False)
    for spare in ("curves.png", "tensorboard"):
        path = folder / spare
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
    print(digest(folder))
