"""Every option of a run: frozen dataclasses, checked where they are made.

The comment above a field is also its `--help` text. A `Config` is saved as
`config.json` in the run folder and read back by `Config.from_dict`, which refuses
names that it does not know.
"""

import dataclasses
import difflib
import math
import os
import typing
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from flaxformer_mt.errors import InputError

MAX_CORPORA = 255  # their numbers are kept in a byte
MAX_WEIGHT = 1000  # times that a corpus may be read in an epoch
CONFIG_FORMAT = 1  # raised when a saved config needs translating to be read

Normalization = Literal["auto", "persian", "basic", "none"]
Digits = Literal["script", "ascii", "keep"]
Tokenization = Literal["characters", "unigram", "bpe"]
Tying = Literal["none", "target", "all"]
Schedule = Literal["auto", "constant", "inverse_sqrt", "cosine", "linear"]
Precision = Literal["auto", "float32", "bfloat16"]
BestBy = Literal["loss", "chrf", "bleu"]


def require(condition: bool, message: str) -> None:
    """Raises InputError(message) unless the condition holds."""
    if not condition:
        raise InputError(message)


def require_numbers(options: Any) -> None:
    """Raises InputError if a number among the fields is NaN or infinite."""
    for field in dataclasses.fields(options):
        value = getattr(options, field.name)
        if isinstance(value, float) and not math.isfinite(value):
            table = type(options).__name__.removesuffix("Config").lower()
            raise InputError(
                f"{table}.{field.name} must be a finite number; got {value}."
            )


def _require_choice(name: str, value: Any, kind: Any) -> None:
    """Raises InputError unless the value is one of a Literal's."""
    choices = typing.get_args(kind)
    require(
        value in choices,
        f"{name} must be one of {', '.join(choices)}; got {value!r}"
        f"{did_you_mean(str(value), choices)}.",
    )


def did_you_mean(name: str, known: typing.Iterable[str]) -> str:
    """Returns "; did you mean 'x'?" for the nearest known name, or ""."""
    near = difflib.get_close_matches(name, list(known), n=1, cutoff=0.6)
    return f"; did you mean '{near[0]}'?" if near else ""


@dataclasses.dataclass(frozen=True, kw_only=True)
class FilterConfig:
    """The rules that leave a pair out. Each is counted and shown; each has a switch."""

    # A side without anything but white space.
    empty: bool = True
    # A control character (Unicode Cc other than white space): text has none.
    control: bool = True
    # Both sides the same text: copied, not translated.
    identical: bool = True
    # The very pair was there before, once both sides are normalised.
    duplicates: bool = True
    # A side of more characters is no sentence; 0: no limit.
    max_characters: int = 1000
    # One side has so many times the characters of the other, and more than 20; 0: off.
    max_ratio: float = 9.0
    # Less than this share of a side's letters is in a script of that side's language,
    # as its first lines show; 0: off.
    min_script: float = 0.5

    def __post_init__(self) -> None:
        require_numbers(self)
        require(
            self.max_characters >= 0,
            "data.filter.max_characters must be above 0, or 0 for no limit; got "
            f"{self.max_characters}.",
        )
        require(
            self.max_ratio == 0 or self.max_ratio >= 1,
            "data.filter.max_ratio must be at least 1, or 0 for off; got "
            f"{self.max_ratio}.",
        )
        require(
            0 <= self.min_script <= 1,
            f"data.filter.min_script must be between 0 and 1; got {self.min_script}.",
        )


@dataclasses.dataclass(frozen=True, kw_only=True)
class DataConfig:
    """Where the sentence pairs come from and which of them are kept."""

    # A folder that prepare has written: the corpus, split and tokenized. What was
    # decided there is then not given again.
    prepared: str = ""
    # Source sentences, PATH[:PART]; PART is a member of a zip, a column number of a
    # TSV (from 0) or a key of a JSONL; .gz opens by itself. Several corpora: several
    # sources, separated by spaces. None: the starter corpus.
    src: tuple[str, ...] = ()
    # Target sentences, PATH[:PART], in step with the source.
    tgt: tuple[str, ...] = ()
    # How often a pair of each corpus is read in an epoch, on average: 2 is twice, 0.5
    # every other epoch. None: once.
    weights: tuple[float, ...] = ()
    # Validation and test pairs of their own, PATH[:PART] a side; training pairs that
    # share a sentence with them are left out. None: a share of the pairs.
    validation_src: str = ""
    validation_tgt: str = ""
    test_src: str = ""
    test_tgt: str = ""
    # Language codes, kept in the run; they choose the normalisation where it is auto.
    src_lang: str = ""
    tgt_lang: str = ""
    # Unicode rules of each side: basic (NFC, no invisible direction marks), persian
    # (also Arabic letter forms to Persian ones), none, or auto (by the script).
    src_normalize: Normalization = "auto"
    tgt_normalize: Normalization = "auto"
    # Arabic and Persian digits: script (persian makes Arabic ones Persian), ascii
    # (both become 0 to 9) or keep.
    digits: Digits = "script"
    # Fold both sides to lower case before anything else, as the tutorial does.
    lowercase: bool = False
    # What is left out.
    filter: FilterConfig = dataclasses.field(default_factory=FilterConfig)
    # Share of the pairs kept out of training, as groups that share a sentence, and how
    # many pairs that is at most (the groups of lowest hash; 0: no limit).
    validation_fraction: float = 0.05
    test_fraction: float = 0.05
    max_validation_pairs: int = 5000
    max_test_pairs: int = 5000
    # Use only the first so many pairs that pass the filters (but for the model's
    # max_length, which is known last); 0 uses all.
    limit_pairs: int = 0
    # What a token is: a character, or a piece of a word as SentencePiece learns it.
    tokenizer: Tokenization = "characters"
    # A folder of a run whose tokenizers are used as they are, with their normalisation:
    # for a corpus that is too small to learn pieces from. Empty: learned here.
    tokenizers: str = ""
    # Pieces that SentencePiece learns, a side or, where shared, in all; a small corpus
    # gives fewer, which is told.
    vocab_size: int = 8000
    # One SentencePiece vocabulary for both sides: for languages that share letters.
    shared_vocab: bool = False
    # Sentences that SentencePiece learns from, drawn from the training pairs.
    vocab_sentences: int = 500_000
    # Characters seen less often are spelled in bytes (characters only).
    min_count: int = 1
    # Subword regularisation: how freely each epoch cuts words anew, from 0 (never) to
    # below 1; 0.1 is usual. For bpe it is the share of merges left out; for unigram
    # cuts are drawn with their probabilities to the power of 0.02 / this.
    subword_sampling: float = 0.0
    # Vocabulary files of one's own, a JSON list of tokens; pairs with a character that
    # is not in them are dropped and counted. Empty: taken from the training pairs.
    src_vocab: str = ""
    tgt_vocab: str = ""
    # How the special tokens are spelled in the saved vocabulary.
    bos: str = "<SOS>"
    pad: str = "<PAD>"
    eos: str = "<EOS>"
    unk: str = "<UNK>"
    # Processes that read and tokenize; 0: as many as there are cores, for a corpus
    # that is worth it. The result does not depend on it.
    processes: int = 0

    def __post_init__(self) -> None:
        # One corpus may be given as a plain string, as it mostly is from Python.
        for name in ("src", "tgt"):
            value = getattr(self, name)
            if isinstance(value, str | os.PathLike):
                value = (value,) if str(value) else ()
            object.__setattr__(self, name, tuple(map(str, value)))
        object.__setattr__(self, "weights", tuple(map(float, self.weights)))
        require_numbers(self)
        self._check_corpora()
        self._check_split()
        self._check_tokenizers()
        self._check_tokens()

    def _check_corpora(self) -> None:
        require(
            not (self.prepared and (self.src or self.weights)),
            "give data.prepared or data.src, not both (nor data.weights): a prepared "
            "folder holds its corpus and its weights.",
        )
        require(
            bool(self.src) == bool(self.tgt),
            "data.src and data.tgt belong together; got only data."
            f"{'src' if self.src else 'tgt'}: give both, or neither for the starter "
            "corpus.",
        )
        require(
            len(self.src) == len(self.tgt),
            f"data.src and data.tgt must name equally many corpora; got {len(self.src)}"
            f" and {len(self.tgt)}.",
        )
        most = MAX_CORPORA - 2  # validation and test may be corpora too
        require(
            len(self.src) <= most,
            f"data.src may name {most} corpora; got {len(self.src)}: join some.",
        )
        for part in ("validation", "test"):
            src, tgt = (getattr(self, f"{part}_{side}") for side in ("src", "tgt"))
            require(
                bool(src) == bool(tgt),
                f"data.{part}_src and data.{part}_tgt belong together; got only "
                f"data.{part}_{'src' if src else 'tgt'}: give both, or neither.",
            )
            require(
                not src or bool(self.src),
                f"data.{part}_src goes with a corpus of one's own; got no data.src: "
                "the starter corpus and prepared folders have their own.",
            )
        require(
            not self.weights or len(self.weights) == len(self.src),
            "data.weights must have a number for each corpus of data.src; got "
            f"{len(self.weights)} for {len(self.src)}.",
        )
        require(
            all(0 < weight <= MAX_WEIGHT for weight in self.weights),
            f"data.weights must be above 0 and at most {MAX_WEIGHT}; got "
            f"{', '.join(map(str, self.weights))}: leave out a corpus that is not to "
            "be read.",
        )

    def _check_split(self) -> None:
        for name in ("validation_fraction", "test_fraction"):
            value = getattr(self, name)
            require(
                0 <= value < 1,
                f"data.{name} must be at least 0 and below 1; got {value}.",
            )
        require(
            self.validation_fraction + self.test_fraction < 1,
            "data.validation_fraction and data.test_fraction must leave pairs to train "
            f"on; got {self.validation_fraction} + {self.test_fraction}.",
        )
        for name, meaning in (
            ("limit_pairs", "all"),
            ("max_validation_pairs", "no limit"),
            ("max_test_pairs", "no limit"),
            ("processes", "as many as there are cores"),
        ):
            value = getattr(self, name)
            require(
                value >= 0, f"data.{name} must be 0 ({meaning}) or more; got {value}."
            )

    def _check_tokenizers(self) -> None:
        contradicting = [
            f"data.{field.name}"
            for field in dataclasses.fields(self)
            if field.name in OF_A_TOKENIZER
            and getattr(self, field.name) != field.default
        ]
        require(
            not (self.tokenizers and contradicting),
            "data.tokenizers takes tokenizers as they are, normalisation and special "
            f"tokens included; got {', '.join(contradicting)} as well: leave out one "
            "or the other.",
        )

    def _check_tokens(self) -> None:
        for name in ("vocab_size", "vocab_sentences", "min_count"):
            value = getattr(self, name)
            require(value >= 1, f"data.{name} must be at least 1; got {value}.")
        require(
            0 <= self.subword_sampling < 1,
            "data.subword_sampling must be at least 0 and below 1; got "
            f"{self.subword_sampling}.",
        )
        choices = typing.get_args(Tokenization)
        require(
            self.tokenizer in choices,
            f"data.tokenizer must be one of {', '.join(choices)}; got "
            f"{self.tokenizer!r}{did_you_mean(str(self.tokenizer), choices)}",
        )
        of_characters = self.tokenizer == "characters"
        require(
            of_characters or not (self.src_vocab or self.tgt_vocab),
            "data.src_vocab and data.tgt_vocab are lists of characters; got "
            f"data.tokenizer={self.tokenizer}, which learns its own: give one or the "
            "other.",
        )
        require(
            not (of_characters and self.shared_vocab),
            "data.shared_vocab is for SentencePiece; got data.tokenizer=characters: "
            "give unigram or bpe.",
        )
        require(
            not (
                of_characters
                and self.subword_sampling
                and not (self.prepared or self.tokenizers)
            ),
            "data.subword_sampling cuts words anew; got data.tokenizer=characters, "
            "which has no words: give unigram or bpe.",
        )
        specials = (self.bos, self.pad, self.eos, self.unk)
        require(
            min(map(len, specials)) > 1 and len(set(specials)) == len(specials),
            "data.bos, data.pad, data.eos and data.unk must be four different "
            "spellings of two characters or more, as a text may hold any one; got "
            f"{', '.join(map(repr, specials))}.",
        )


# What a saved tokenizer has decided. (Its kind, data.tokenizer, may be given again.)
OF_A_TOKENIZER = (
    *("src_normalize", "tgt_normalize", "digits", "lowercase"),
    *("vocab_size", "shared_vocab", "vocab_sentences", "min_count"),
    *("src_vocab", "tgt_vocab", "bos", "pad", "eos", "unk"),
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """Sizes of the Transformer. Frozen, so that a model is a static jit argument."""

    # Tokens that each side knows: set from the tokenizers, not by a person.
    src_vocab_size: Annotated[int, tyro.conf.Suppress] = 0
    tgt_vocab_size: Annotated[int, tyro.conf.Suppress] = 0
    # Longest sentence, in tokens a side, specials included.
    max_length: int = 128
    # Width of the residual stream; a multiple of num_heads, and even.
    d_model: int = 96
    # Width inside the feed-forward layers.
    d_ff: int = 256
    # Attention heads.
    num_heads: int = 4
    # Layers of each stack.
    num_encoder_layers: int = 2
    num_decoder_layers: int = 2
    # Share of activations set to 0 in training: 0 learns fastest, 0.1 to 0.3 helps
    # where a small corpus is read many times.
    dropout_rate: float = 0.0
    # The same on attention weights, and inside the feed-forward layers.
    attention_dropout_rate: float = 0.0
    feed_forward_dropout_rate: float = 0.0
    # Which embeddings are one table: none; target (and output layer); or all (and
    # source), which needs data.shared_vocab.
    tied_embeddings: Tying = "none"
    # LayerNorm after each residual sum (post, as in the tutorial) or before each
    # sublayer (pre).
    norm: Literal["pre", "post"] = "pre"

    def __post_init__(self) -> None:
        require_numbers(self)
        for name in (
            *("d_model", "d_ff", "num_heads"),
            *("num_encoder_layers", "num_decoder_layers"),
        ):
            value = getattr(self, name)
            require(value >= 1, f"model.{name} must be at least 1; got {value}.")
        for name in ("src_vocab_size", "tgt_vocab_size"):
            value = getattr(self, name)
            require(
                value >= 0,
                f"model.{name} must be 0 (from the tokenizer) or more; got {value}.",
            )
        require(
            self.max_length >= 2,
            "model.max_length must be at least 2, a token and EOS; "
            f"got {self.max_length}.",
        )
        require(
            self.d_model % self.num_heads == 0,
            "model.d_model must be a multiple of model.num_heads; got "
            f"d_model={self.d_model}, num_heads={self.num_heads}.",
        )
        require(
            self.d_model % 2 == 0,
            "model.d_model must be even, for pairs of sine and cosine; got "
            f"{self.d_model}.",
        )
        for name in (
            *("dropout_rate", "attention_dropout_rate"),
            "feed_forward_dropout_rate",
        ):
            value = getattr(self, name)
            require(
                0 <= value < 1,
                f"model.{name} must be at least 0 and below 1; got {value}.",
            )
        _require_choice("model.tied_embeddings", self.tied_embeddings, Tying)
        require(
            self.tied_embeddings != "all" or self.src_vocab_size == self.tgt_vocab_size,
            "model.tied_embeddings=all needs one vocabulary for both sides; got "
            f"{self.src_vocab_size} source and {self.tgt_vocab_size} target tokens: "
            "give --data.shared-vocab, or --model.tied-embeddings target.",
        )


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """How long and how fast to learn."""

    # Length of the run: passes over the training pairs, updates, or minutes of wall
    # time (once the corpus is read: compilation, validation and all starts together);
    # give one of the three, 0 is not given. None given: 7 epochs.
    epochs: int = 0
    steps: int = 0
    minutes: float = 0.0
    # Peak learning rate of Adam.
    learning_rate: float = 3e-3
    # How it moves after warm-up: constant, inverse_sqrt, cosine (down to 2% at the end
    # of the run), linear (down to 0), or auto (cosine; inverse_sqrt where the end is
    # given in minutes).
    schedule: Schedule = "auto"
    # Updates in which the learning rate climbs from 0 to its peak.
    warmup_steps: int = 200
    # Decay of Adam's two moving averages.
    adam_b1: float = 0.9
    adam_b2: float = 0.98
    # Share of each weight matrix taken away an update, times the learning rate (AdamW);
    # 0 is plain Adam.
    weight_decay: float = 0.0
    # Gradients longer than this (norm over all parameters) are shortened to it; 0: off.
    clip_norm: float = 0.0
    # Share of the probability given to the other tokens in the training loss.
    label_smoothing: float = 0.0
    # Decay of the parameters' moving average, which is then what is validated, kept and
    # translated with; 0: none.
    ema: float = 0.0
    # Size of a batch: sentence pairs, or (where above 0) at most so many tokens a side,
    # padding counted.
    batch_sentences: int = 16
    batch_tokens: int = 0
    # So many batches make one update, as one batch of their size would, in the memory
    # of one.
    accumulate: int = 1
    # Batches come in at most so many sizes: each costs a compilation, and each saves
    # padding.
    max_shapes: int = 8
    # Numbers that matrices are multiplied in: auto is bfloat16 on a GPU and float32 on
    # the CPU. Parameters, norms, softmax and loss are float32 always.
    precision: Precision = "auto"
    # Updates between validations; 0 validates after each epoch of at least 100.
    validate_steps: int = 0
    # Validation pairs translated for chrF++ and BLEU, always the same ones, as far as
    # validation is estimated to take no more than this share of the time; 0: none.
    metric_pairs: int = 200
    validation_share: float = 0.1
    # What makes a checkpoint the best: its validation loss, or a metric.
    best_by: BestBy = "loss"
    # Validations without a new best after which the run ends; 0: never.
    patience: int = 0
    # Checkpoints kept beside the latest and the best, for `average`: the last so many,
    # and the best so many.
    keep_last: int = 0
    keep_best: int = 0
    # Sentences translated and shown after a validation.
    show_sentences: int = 3
    # Updates in a row with a non-finite gradient after which the run stops.
    max_bad_updates: int = 5

    def __post_init__(self) -> None:
        require_numbers(self)
        self._check_end()
        require(
            self.learning_rate > 0,
            f"train.learning_rate must be above 0; got {self.learning_rate}.",
        )
        for name in ("adam_b1", "adam_b2", "label_smoothing", "ema"):
            value = getattr(self, name)
            require(
                0 <= value < 1,
                f"train.{name} must be at least 0 and below 1; got {value}.",
            )
        for name in ("batch_sentences", "accumulate", "max_shapes", "max_bad_updates"):
            value = getattr(self, name)
            require(value >= 1, f"train.{name} must be at least 1; got {value}.")
        for name in (
            *("batch_tokens", "validate_steps", "metric_pairs", "patience"),
            *("show_sentences", "warmup_steps", "keep_last", "keep_best"),
            *("weight_decay", "clip_norm"),
        ):
            value = getattr(self, name)
            require(value >= 0, f"train.{name} must be 0 or more; got {value}.")
        require(
            0 < self.validation_share <= 1,
            "train.validation_share must be above 0 and at most 1; got "
            f"{self.validation_share}: for no metric give --train.metric-pairs 0.",
        )
        for name, kind in (
            ("schedule", Schedule),
            ("precision", Precision),
            ("best_by", BestBy),
        ):
            _require_choice(f"train.{name}", getattr(self, name), kind)
        require(
            self.best_by == "loss" or self.metric_pairs > 0,
            f"train.best_by={self.best_by} needs translations; got "
            "train.metric_pairs=0: give some, or leave best_by out.",
        )

    def _check_end(self) -> None:
        budgets = {n: getattr(self, n) for n in ("epochs", "steps", "minutes")}
        for name, value in budgets.items():
            require(
                value >= 0,
                f"train.{name} must be above 0, or 0 for not given; got {value}.",
            )
        require(
            max(self.epochs, self.steps) < 2**31,
            "train.epochs and train.steps must be below 2**31; got "
            f"{max(self.epochs, self.steps)}.",
        )
        given = [name for name, value in budgets.items() if value]
        require(
            len(given) <= 1,
            "give one of train.epochs, train.steps and train.minutes; got "
            + " and ".join(f"train.{name}={budgets[name]}" for name in given)
            + ".",
        )
        require(
            not (self.schedule in ("cosine", "linear") and self.minutes),
            f"train.schedule={self.schedule} needs an end in epochs or steps; got "
            f"train.minutes={self.minutes}: use inverse_sqrt or constant.",
        )

    @property
    def budget(self) -> tuple[str, float]:
        """What ends the run: ("epochs" | "steps" | "minutes", how many)."""
        for name in ("epochs", "steps", "minutes"):
            if getattr(self, name):
                return name, getattr(self, name)
        return "epochs", DEFAULT_EPOCHS


DEFAULT_EPOCHS = 7


# Options of one call of train, not of the run.
OF_THE_CALL = ("run", "device", "cores", "distributed", "allow_changes")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    """A whole training run."""

    # Folder of the run: config, tokenizers, log and checkpoints, all that translate
    # needs. The same command goes on with a run that was stopped.
    run: str = "weights/en-fa"
    # Same seed, machine and versions: the same run, bit for bit.
    seed: int = 0
    # Where to compute; auto takes a GPU where there is one.
    device: Literal["auto", "cpu", "gpu"] = "auto"
    # Processors that a training on the CPU spreads its batches over; 0: all.
    cores: int = 0
    # One process of several, on several hosts, that train together.
    distributed: bool = False
    # Folder of a run whose best parameters this one starts from: fine-tuning. Sizes
    # that are not given are those of that run.
    init_from: str = ""
    # Go on with a run although learning rate, schedule, Adam's decays, label smoothing,
    # dropout, precision or what is validated differ from those it was begun with; the
    # result is then neither's.
    allow_changes: bool = False
    # Where the sentence pairs come from and which of them are kept.
    data: DataConfig = dataclasses.field(default_factory=DataConfig)
    # Sizes of the Transformer.
    model: ModelConfig = dataclasses.field(default_factory=ModelConfig)
    # How long and how fast to learn.
    train: TrainConfig = dataclasses.field(default_factory=TrainConfig)

    def __post_init__(self) -> None:
        require(
            bool(self.run.strip()),
            "run must name a folder; got an empty name: give one, as in "
            "--run weights/mine.",
        )
        require(
            0 <= self.seed < 2**31,
            f"seed must be at least 0 and below 2**31; got {self.seed}.",
        )
        require(self.cores >= 0, f"cores must be 0 (all) or more; got {self.cores}.")

    def replace(self, **changes: Any) -> "Config":
        """A copy with some fields changed, checked again."""
        return dataclasses.replace(self, **changes)

    def to_dict(self) -> dict[str, Any]:
        """A dictionary for JSON; left out is what does not belong to the model: a
        folder may be moved, and a device is of a machine."""
        fields = dataclasses.asdict(self)
        for name in OF_THE_CALL:
            del fields[name]
        return {"format": CONFIG_FORMAT, **fields}

    @classmethod
    def from_dict(cls, fields: dict[str, Any], *, run: str | Path) -> "Config":
        """The inverse of `to_dict`.

        Raises:
          InputError: an unknown name, a value of the wrong type, another format.
        """
        require(isinstance(fields, dict), f"{run} has a config that is no object.")
        fields = dict(fields)
        written = fields.pop("format", None)
        require(
            written == CONFIG_FORMAT,
            f"{run} has a config of format {written}, this version reads format "
            f"{CONFIG_FORMAT}: use the version that wrote it, or train again.",
        )
        return options_from(cls, {**fields, "run": str(run)}, prefix="")


def options_from(cls: type, fields: Any, prefix: str) -> Any:
    """An options dataclass out of nested dictionaries, strictly."""
    require(
        isinstance(fields, dict),
        f"{prefix or 'the config'} must be a table of options; got {fields!r}.",
    )
    known = typing.get_type_hints(cls)
    values = {}
    for name, value in fields.items():
        if name not in known:
            raise InputError(f"unknown key '{prefix}{name}'{did_you_mean(name, known)}")
        kind = known[name]
        if dataclasses.is_dataclass(kind):
            values[name] = options_from(kind, value, f"{prefix}{name}.")
        else:
            values[name] = _checked(kind, value, f"{prefix}{name}")
    return cls(**values)


def _checked(kind: Any, value: Any, name: str) -> Any:
    """The value, if it is of the field's type."""
    if typing.get_origin(kind) is Literal:
        choices = typing.get_args(kind)
        require(
            value in choices,
            f"{name} must be one of {', '.join(choices)}; got {value!r}"
            f"{did_you_mean(str(value), choices)}",
        )
        return value
    if typing.get_origin(kind) is tuple:
        # A list of JSON, or one string alone, as configs had at first.
        entries = [value] if isinstance(value, str) and value else value or []
        require(isinstance(entries, list | tuple), f"{name} must be a list.")
        item, _ = typing.get_args(kind)
        return tuple(_checked(item, entry, name) for entry in entries)
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    require(
        type(value) is kind,
        f"{name} must be of type {kind.__name__}; got {value!r}.",
    )
    return value
