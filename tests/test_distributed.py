"""`fit` on several processes, and on numbers of devices that divide nothing.

This file run as a script is one of those processes.
"""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

from flaxformer_mt.config import Config, DataConfig, ModelConfig, TrainConfig
from flaxformer_mt.errors import FlaxformerError
from flaxformer_mt.train import fit
from flaxformer_mt.training.checkpoints import load_params, saved_steps
from tests.conftest import ROOT

PAIRS = [(f"{a} {b}", f"{b[::-1]}.{a}") for a in "abcdef" for b in ("xyz", "uv", "r")]
FAR = 100_000  # steps: an end that no test reaches


def config_in(folder: Path, run: str) -> Config:
    """Five pairs a batch, which no number of devices here divides."""
    path = folder / "pairs.tsv"
    if not path.exists():
        path.write_text("".join(f"{s}\t{t}\n" for s, t in PAIRS), encoding="utf-8")
    return Config(
        run=str(folder / run),
        device="cpu",
        data=DataConfig(src=f"{path}:0", tgt=f"{path}:1", validation_fraction=0.2),
        model=ModelConfig(
            max_length=12,
            d_model=16,
            d_ff=32,
            num_heads=2,
            num_encoder_layers=1,
            num_decoder_layers=1,
            dropout_rate=0.2,
        ),
        train=TrainConfig(
            steps=FAR, batch_sentences=5, validate_steps=16, max_shapes=1
        ),
    )


def main() -> None:
    """The child: `fit` in FOLDER/RUN for MORE_STEPS, ended as a door would end."""
    folder, run, more_steps, distributed = sys.argv[1:]
    config = config_in(Path(folder), run).replace(distributed=distributed == "True")
    try:
        fit(config, more_steps=int(more_steps))
    except FlaxformerError as error:
        print(error)
        raise SystemExit(error.exit_code) from None


def start(folder: Path, run: str, *, more_steps: int, devices: int = 1, **hosts: str):
    """A child with so many devices; `hosts` is the environment of a distributed one."""
    flags = os.environ.get("XLA_FLAGS", "")
    flags += f" --xla_force_host_platform_device_count={devices}"
    arguments = [str(folder), run, str(more_steps), str(bool(hosts))]
    return subprocess.Popen(
        [sys.executable, __file__, *arguments],
        env={**os.environ, "PYTHONPATH": str(ROOT), "XLA_FLAGS": flags, **hosts},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        encoding="utf-8",
    )


def start_hosts(folder: Path, *, more_steps: int) -> list[subprocess.Popen]:
    """Two hosts of one run, the one that writes first."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    return [
        start(
            folder,
            "hosts",
            more_steps=more_steps,
            JAX_COORDINATOR_ADDRESS=address,
            JAX_NUM_PROCESSES="2",
            JAX_PROCESS_ID=str(number),
        )
        for number in (0, 1)
    ]


def ended(*children: subprocess.Popen) -> tuple[list[int], str]:
    """Exit codes, and what was said."""
    try:
        texts = [child.communicate(timeout=240)[0] for child in children]
    finally:
        for child in children:
            child.kill()
    return [child.returncode for child in children], "\n".join(texts)


def losses(run: str) -> dict[int, tuple[float, float]]:
    history = load_params(run, "latest").record["history"]
    return {e["step"]: (e["train_loss"], e["validation_loss"]) for e in history}


def test_two_hosts_train_stop_and_go_on_as_one(tmp_path):
    """A signal to either stops both at the same step, saved; then they go on."""
    run = tmp_path / "hosts"
    hosts = start_hosts(tmp_path, more_steps=FAR)
    until = time.monotonic() + 240
    while not (run / "metrics.jsonl").exists() and all(h.poll() is None for h in hosts):
        time.sleep(0.1)
        if time.monotonic() > until:
            for host in hosts:  # they tell what they were at
                host.kill()
    hosts[1].send_signal(signal.SIGTERM)
    codes, said = ended(*hosts)
    assert codes == [143, 143], said
    stopped = saved_steps(run)[-1]
    assert stopped % 16 == 0 and said.count("the same command goes on") == 2

    codes, said = ended(*start_hosts(tmp_path, more_steps=16))
    assert codes == [0, 0], said
    assert f"resumed from step {stopped:,}" in said
    assert saved_steps(run)[-1] == stopped + 16
    told = json.loads((run / "config.json").read_text(encoding="utf-8"))
    assert told["train"]["steps"] == FAR

    one = config_in(tmp_path, "one")
    fit(one, verbose=False, more_steps=32)
    alone, together = losses(one.run), losses(str(run))
    for step in (16, 32):
        np.testing.assert_allclose(together[step], alone[step], rtol=1e-3)


def test_a_run_goes_on_with_another_number_of_devices(tmp_path):
    """Three, then one: the batches are the same, and so are the losses."""
    codes, said = ended(start(tmp_path, "run", more_steps=21, devices=3))
    assert codes == [0] and "3 x CPU" in said, said
    config = config_in(tmp_path, "run")
    fit(config, verbose=False, more_steps=11)
    alone = config_in(tmp_path, "alone")
    fit(alone, verbose=False, more_steps=32)
    several, one = losses(config.run), losses(alone.run)
    np.testing.assert_allclose(several[16], one[16], rtol=1e-3)
    # The training loss is over the updates since the stop: only validation compares.
    np.testing.assert_allclose(several[32][1], one[32][1], rtol=1e-3)


if __name__ == "__main__":
    main()
