"""Sizes by name, each with the regularisation and the schedule that belong to it.

A preset is a `Config` to start from; every value of it can be given otherwise. None of
them says anything of the data: small models learn from characters, larger ones want
pieces of words (`--data.tokenizer bpe`).
"""

import functools

from flaxformer_mt.config import Config, ModelConfig, TrainConfig, did_you_mean
from flaxformer_mt.errors import InputError


def _model(
    d_model: int, d_ff: int, num_heads: int, layers: int, *dropout_rates: float
) -> ModelConfig:
    """A model whose stacks have so many layers each, target embeddings tied.

    dropout_rates: everywhere, on attention weights, inside the feed-forward layers.
    """
    names = ("dropout_rate", "attention_dropout_rate", "feed_forward_dropout_rate")
    return ModelConfig(
        d_model=d_model,
        d_ff=d_ff,
        num_heads=num_heads,
        num_encoder_layers=layers,
        num_decoder_layers=layers,
        tied_embeddings="target",
        **dict(zip(names, dropout_rates, strict=False)),
    )


# Of all presets from tiny on.
_train = functools.partial(TrainConfig, label_smoothing=0.1, keep_last=5)

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
        "tens of thousands of pairs, two cores or a GPU",
        _model(128, 256, 4, 4, 0.2),
        _train(
            learning_rate=4e-3,
            schedule="cosine",
            warmup_steps=500,
            batch_tokens=2048,
            epochs=24,
        ),
    ),
    "small": (
        "a hundred thousand pairs, one GPU",
        _model(256, 1024, 4, 4, 0.2, 0.1),
        _train(
            learning_rate=2e-3,
            schedule="inverse_sqrt",
            warmup_steps=2000,
            clip_norm=1.0,
            batch_tokens=4096,
            epochs=30,
        ),
    ),
    # Vaswani et al. 2017, table 3, with norms before the sublayers.
    "base": (
        "a million pairs and more, one GPU",
        _model(512, 2048, 8, 6, 0.1, 0.1, 0.1),
        _train(
            learning_rate=7e-4,
            schedule="inverse_sqrt",
            warmup_steps=4000,
            clip_norm=1.0,
            batch_tokens=8192,
            accumulate=3,
            steps=100_000,
            validate_steps=2000,
        ),
    ),
    "big": (
        "ten million pairs and more, a large GPU or several",
        _model(1024, 4096, 16, 6, 0.3, 0.1, 0.1),
        _train(
            learning_rate=5e-4,
            schedule="inverse_sqrt",
            warmup_steps=4000,
            clip_norm=1.0,
            batch_tokens=8192,
            accumulate=3,
            steps=300_000,
            validate_steps=5000,
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
