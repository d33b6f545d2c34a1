"""Makes weights/starter out of a trained run: python -m experiments.publish_starter RUN

It copies the parameters of the best step, the config and the tokenizers, scores them on
the corpus's validation and test parts, and writes the card, README.md, with the
command, the commit, the versions, the time that training took, and the SHA-256 of the
parameters.
"""

import argparse
import hashlib
import json
import shutil
import subprocess
import tempfile
from pathlib import Path

from flaxformer_mt import starter
from flaxformer_mt.decoding.translator import Translator
from flaxformer_mt.evaluate import evaluate_pairs
from flaxformer_mt.evaluation.metrics import Scores
from flaxformer_mt.training import checkpoints, storage
from flaxformer_mt.training.run_folder import RunFolder

ROOT = Path(__file__).resolve().parent.parent
STARTER = ROOT / "weights" / "starter"
COMMAND = "python -m flaxformer_mt.train"


def params_sha256(folder: Path) -> str:
    """SHA-256 over the names and values of the parameters, whatever file holds them."""
    digest = hashlib.sha256()

    def add(name: str, tree: object) -> None:
        if isinstance(tree, dict):
            for key in sorted(tree):
                add(f"{name}/{key}", tree[key])
        else:
            digest.update(f"{name} {tree.dtype} {tree.shape}".encode())
            digest.update(tree.tobytes())

    add("", checkpoints.load_params(folder).params)
    return digest.hexdigest()


def commit() -> str:
    """The commit that the working tree stands at."""
    command = ["git", "rev-parse", "HEAD"]
    return subprocess.run(
        command, cwd=ROOT, capture_output=True, check=True, text=True, encoding="utf-8"
    ).stdout.strip()


def score_parts(folder: RunFolder) -> dict[str, dict[str, Scores]]:
    """The scores of the validation and the test part, of all and of each origin."""
    translator = Translator.load(folder.path)
    return {
        part: evaluate_pairs(translator, folder.held_out(part))[0]
        for part in ("validation", "test")
    }


def card(facts: dict) -> str:
    """The model's card, in Markdown."""
    rows = "\n".join(
        f"| {part} | {group} | {s['num_sentences']:,} | {s['chrf']:.1f} | "
        f"{s['bleu']:.1f} | {s['exact_match']:.1f}% |"
        for part, groups in facts["scores"].items()
        for group, s in groups.items()
    )
    signatures = "\n".join(
        f"- `{signature}`"
        for signature in facts["scores"]["test"]["all"]["signatures"].values()
    )
    versions = ", ".join(f"{k} {v}" for k, v in facts["environment"].items())
    return f"""# The starter model

English to Persian, by characters, trained on the starter corpus in `data/en-fa`. It
shows the tool at work and is lost beyond sentences like those of its corpus: see
[data/README.md](../../data/README.md). No native speaker has reviewed its output.

| | |
| --- | --- |
| command | `{facts["command"]}` |
| commit | {facts["commit"]} |
| best step | {facts["step"]:,} of {facts["last_step"]:,}, by validation loss |
| training time | {facts["minutes"]:.1f} minutes on two CPU cores, all included |
| SHA-256 of the parameters | `{facts["params_sha256"]}` |
| environment | {versions} |

Greedy decoding (`python -m flaxformer_mt.evaluate`); choices were made on validation,
the test part was scored once for this run:

| part | pairs | sentences | chrF++ | BLEU | exact |
| --- | --- | --- | --- | --- | --- |
{rows}

{signatures}

The same figures are in `card.json`, which a test compares with the model. The model is
made again by `{facts["command"]}` and
`python -m experiments.publish_starter weights/en-fa`. Licence: CC0, as the corpus.
"""


def publish(run: Path, target: Path) -> dict:
    """The facts on the card, after writing the model and the card to `target`."""
    record = checkpoints.load_params(run, "latest").record
    step = checkpoints.export(run, target, record={})
    shutil.copyfile(RunFolder(run).path / "held_out.jsonl", target / "held_out.jsonl")
    scores = score_parts(RunFolder(target))
    facts = {
        "command": COMMAND,
        "commit": commit(),
        "step": step,
        "last_step": record["history"][-1]["step"],
        "minutes": record["seconds"] / 60,
        "params_sha256": params_sha256(target),
        "environment": record["environment"],
        "scores": {
            part: {group: vars(s) for group, s in groups.items()}
            for part, groups in scores.items()
        },
    }
    storage.atomic_write_json(target / starter.CARD, facts)
    storage.atomic_write_text(target / "README.md", card(facts))
    return facts


def main() -> None:
    """Publishes a run, in the place of the model that was there."""
    parser = argparse.ArgumentParser(description="Makes weights/starter out of a run.")
    parser.add_argument("run", type=Path, help="a run folder, as weights/en-fa")
    run = parser.parse_args().run
    with tempfile.TemporaryDirectory() as folder:
        made = Path(folder) / "starter"
        facts = publish(run, made)
        shutil.rmtree(STARTER, ignore_errors=True)
        shutil.copytree(made, STARTER)
    size = sum(path.stat().st_size for path in STARTER.rglob("*") if path.is_file())
    print(json.dumps(facts["scores"]["test"]["all"], indent=1))
    print(f"{STARTER.relative_to(ROOT)}: {size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
