"""What a training tells the person: what it is, how it stands, how it ended.

Sentences only; when they are said is decided in session.py.
"""

from collections.abc import Sequence
from typing import Any

from flaxformer_mt.config import Config, ModelConfig
from flaxformer_mt.terminal import Tell, in_words, say_translation
from flaxformer_mt.text.batching import EpochBatches
from flaxformer_mt.text.prepared import TextPair
from flaxformer_mt.training.memory import in_gigabytes
from flaxformer_mt.training.programs import CompileCount


def tell_model(
    tell: Tell, cfg: ModelConfig, *, num_parameters: int, tokenizer: str, memory: int
) -> None:
    """Tells the model's sizes and what its largest step needs.

    memory: bytes.
    """
    tell(
        f"  model: {num_parameters:,} parameters, "
        f"{cfg.num_encoder_layers}+{cfg.num_decoder_layers} layers, "
        f"d_model {cfg.d_model}, d_ff {cfg.d_ff}, {cfg.num_heads} heads, "
        f"{cfg.src_vocab_size:,} source and {cfg.tgt_vocab_size:,} target tokens "
        f"({tokenizer})"
    )
    tell(f"  memory: the largest step needs {in_gigabytes(memory)}")


def tell_batches(tell: Tell, batches: EpochBatches) -> None:
    """Tells the sizes of the batches, and how much of them is padding."""
    shapes = ", ".join(f"{b} x {s}/{t}" for b, s, t in batches.shapes)
    tell(
        f"  batches: {len(batches):,} an epoch, sentences x source/target "
        f"width: {shapes}; each shape compiles at its first step"
    )
    src, tgt = batches.padding()
    tell(f"  padding: {src:.1%} of the source positions, {tgt:.1%} of target")


def tell_best(tell: Tell, begun: Config, *, num_held_out: int, num_scored: int) -> None:
    """Tells what makes a checkpoint the best, and which pairs are translated for it.

    Args:
      num_held_out: pairs of validation.
      num_scored: those of them that are translated.
    """
    by = begun.train.best_by
    if by == "loss":
        none = "training (no pair is kept for validation)"
        what = "validation" if num_held_out else none
        tell(f"  the best checkpoint is the one with the lowest loss of {what}")
    else:
        tell(f"  the best checkpoint is the one with the highest {by}")
    wanted = begun.train.metric_pairs if num_held_out else 0
    if wanted > num_scored:
        tell(
            f"  {num_scored} of {num_held_out} validation pairs are translated and "
            f"scored at each validation, not {wanted} (--train.metric-pairs): "
            + (
                "no more are there"
                if num_scored == num_held_out
                else "--train.validation-share leaves no time for more"
            )
        )


def tell_validation(tell: Tell, entry: dict[str, Any], *, is_best: bool) -> None:
    """Tells an entry of the history."""
    losses = f"training loss {entry['train_loss']:.3f}"
    if (held_out := entry.get("validation_loss")) is not None:
        losses += f", validation loss {held_out:.3f}"
    if "chrf" in entry:
        losses += f", chrF++ {entry['chrf']:.1f}, BLEU {entry['bleu']:.1f}"
    mark = ", the best so far" if is_best else ""
    tell(
        f"epoch {entry['epoch']:.2f}, step {entry['step']:,}, "
        f"{in_words(entry['seconds'])}: {losses}{mark}; waited for data "
        f"{entry['data_wait']:.1%} of the time, validation took "
        f"{entry['validation_share']:.0%}"
    )


def tell_translations(
    tell: Tell, pairs: Sequence[TextPair], translations: Sequence[str]
) -> None:
    """Shows each pair and what the model makes of it."""
    for pair, translation in zip(pairs, translations, strict=True):
        say_translation(pair.src, pair.tgt, translation)
        tell("")


def tell_programs(tell: Tell, programs: CompileCount) -> None:
    """Tells what compilation took."""
    tell(
        f"  programs:     {programs.compiled.total():,} compiled, "
        f"{programs.loaded.total():,} kept from an earlier start, "
        f"{in_words(programs.seconds)} in all"
    )


def tell_end(
    tell: Tell,
    run: str,
    *,
    step: int,
    best_by: str,
    best: dict[str, Any] | None,
    seconds: float,
) -> None:
    """Tells how far a run came, and what can be done with it.

    Args:
      best: the entry of the best step, None where no step can be.
      seconds: of training, all starts together.
    """
    how = "no step with a finite loss"
    if best:
        name = {"loss": "loss", "chrf": "chrF++", "bleu": "BLEU"}[best_by]
        how = f"best {name} {best[best_by]:.3f} at step {best['step']:,}"
    tell(f"finished at step {step:,} after {in_words(seconds)}; {how}, saved in {run}")
    if best and best["step"] != step:
        tell(f"  translating takes step {best['step']:,}, the best, not the last")
    tell(f"  translate:    python -m flaxformer_mt.translate --run {run}")
    tell(f"  evaluate:     python -m flaxformer_mt.evaluate --run {run}")


def tell_way_on(tell: Tell, asked: Config, *, patience_lost: bool) -> None:
    """Tells what would continue a run that is at its end."""
    if patience_lost:
        tell("  go on:        the same command with --train.patience 0")
        return
    kind, amount = asked.train.budget
    tell(
        "  go on:        the same command with a later end, as "
        f"--train.{kind} {2 * amount:.15g}"
    )
