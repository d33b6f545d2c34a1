"""Sizes by name, each with the regularisation and the schedule that belong to it.

A preset is a `Config` to start from; every value of it can be given otherwise. None of
them says anything of the data: small models learn from characters, larger ones want
pieces of words (`--data.tokenizer bpe`).
"""

from flaxformer_mt.config import Config, ModelConfig, TrainConfig, did_you_mean
from flaxformer_mt.errors import InputError

PRESETS: dict[str, tuple[str, ModelConfig, TrainConfig]] = {
    "starter": (
        "the default: some minutes on a laptop, for sentences of a simple kind",
        ModelConfig(),
        TrainConfig(),
    ),
    "tutorial": (
        "the sizes of the PyTorch tutorial that this project grew from",
        ModelConfig(d_model=64, d_ff=256, num_heads=8, dropout_rate=0.1, norm="post"),
        TrainConfig(
            learning_rate=1e-3, schedule="constant", warmup_steps=100, epochs=20
        ),
    ),
    # Sizes after Wu et al. 2021, "Good for misconceived reasons", who train it on the
    # 29,000 pairs of Multi30k: strong dropout, a high peak. What it comes to there is
    # in experiments/results/multi30k.json.
    "tiny": (
        "some ten thousand pairs, an hour on two cores or minutes on a GPU",
        ModelConfig(
            d_model=128,
            d_ff=256,
            num_heads=4,
            num_encoder_layers=4,
            num_decoder_layers=4,
            dropout_rate=0.2,
            tied_embeddings="target",
        ),
        TrainConfig(
            learning_rate=4e-3,
            schedule="cosine",
            warmup_steps=500,
            label_smoothing=0.1,
            batch_tokens=2048,
            epochs=24,
            keep_last=5,
        ),
    ),
    "small": (
        "a hundred thousand pairs, one GPU",
        ModelConfig(
            d_model=256,
            d_ff=1024,
            num_heads=4,
            num_encoder_layers=4,
            num_decoder_layers=4,
            dropout_rate=0.2,
            attention_dropout_rate=0.1,
            tied_embeddings="target",
        ),
        TrainConfig(
            learning_rate=2e-3,
            schedule="inverse_sqrt",
            warmup_steps=2000,
            label_smoothing=0.1,
            clip_norm=1.0,
            batch_tokens=4096,
            epochs=30,
            keep_last=5,
        ),
    ),
    # Vaswani et al. 2017, table 3, with norms before the sublayers.
    "base": (
        "a million pairs and more, one GPU",
        ModelConfig(
            d_model=512,
            d_ff=2048,
            num_heads=8,
            num_encoder_layers=6,
            num_decoder_layers=6,
            dropout_rate=0.1,
            attention_dropout_rate=0.1,
            feed_forward_dropout_rate=0.1,
            tied_embeddings="target",
        ),
        TrainConfig(
            learning_rate=7e-4,
            schedule="inverse_sqrt",
            warmup_steps=4000,
            label_smoothing=0.1,
            clip_norm=1.0,
            batch_tokens=8192,
            accumulate=3,
            steps=100_000,
            validate_steps=2000,
            keep_last=5,
        ),
    ),
    "big": (
        "ten million pairs and more, a large GPU or several",
        ModelConfig(
            d_model=1024,
            d_ff=4096,
            num_heads=16,
            num_encoder_layers=6,
            num_decoder_layers=6,
            dropout_rate=0.3,
            attention_dropout_rate=0.1,
            feed_forward_dropout_rate=0.1,
            tied_embeddings="target",
        ),
        TrainConfig(
            learning_rate=5e-4,
            schedule="inverse_sqrt",
            warmup_steps=4000,
            label_smoothing=0.1,
            clip_norm=1.0,
            batch_tokens=8192,
            accumulate=3,
            steps=300_000,
            validate_steps=5000,
            keep_last=5,
        ),
    ),
}


def preset(name: str) -> Config:
    """The config of that name, for the starter corpus until it is given another.

    Raises:
      InputError: there is no such preset.
    """
    if name not in PRESETS:
        raise InputError(
            f"--preset must be one of {', '.join(PRESETS)}; got {name!r}"
            f"{did_you_mean(name, PRESETS)}"
        )
    _, model, train = PRESETS[name]
    return Config(model=model, train=train)


def describe_presets() -> str:
    """A line for each preset."""
    lines = []
    for name, (what, model, _) in PRESETS.items():
        sizes = (
            f"d_model {model.d_model}, d_ff {model.d_ff}, {model.num_heads} heads, "
            f"{model.num_encoder_layers}+{model.num_decoder_layers} layers"
        )
        lines.append(f"{name:9} {sizes}: {what}")
    return "\n".join(lines)
