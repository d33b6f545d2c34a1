"""What `translate` may be asked for, and what does not go together."""

import dataclasses
from typing import Any, Literal

from flaxformer_mt.decoding.beam_search import MOST_HYPOTHESES, BeamOptions
from flaxformer_mt.decoding.sampling import GREEDY, SampleOptions
from flaxformer_mt.errors import InputError

MOST_ALTERNATIVES = 16

# Options that mean something only beside another one, and what that one does.
SAMPLING = (
    *("temperature", "top_k", "top_p", "min_p"),
    *("repetition_penalty", "repetition_window", "seed"),
)
SEARCHING = ("length_penalty", "length_norm", "n_best")
# Options that would be read and then ignored.
NOT_WITH = {
    "alternatives": (
        *("explain", "beam", "sample", "scores", "no_repeat_ngram", "max_tokens"),
        *("too_long", "batch_tokens"),
    ),
    "explain": ("sample", "max_tokens"),
    "sample": ("beam",),
    "prefixes": ("prefix",),
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class TranslateOptions:
    """Reads sentences from standard input, a line each, and writes their translations,
    a line each and in order. At a terminal it asks for one sentence after another."""

    # Folder of a trained run. Empty: the starter model, English to Persian.
    run: str = ""
    # Beam search over so many hypotheses, 1 to 64; 0 is greedy, one likeliest token
    # after the other.
    beam: int = 0
    # With --beam: so many translations of each line, best first, as rows of line
    # number, score and text with TABs between.
    n_best: int | None = None
    # With --beam: above 0 favours longer translations, 0 does not; 1.0 if not given.
    length_penalty: float | None = None
    # With --beam: scores are divided by ((5 + n) / 6)**penalty (gnmt, if not given) or
    # by n**penalty (plain), n tokens.
    length_norm: Literal["gnmt", "plain"] | None = None
    # Write the score before each translation, with a TAB between: the log-probability
    # in nats, with --beam divided by the length norm.
    scores: bool = False
    # Write a JSON object for each line.
    json: bool = False
    # Draw translations at random instead of taking the likeliest tokens (greedy).
    sample: bool = False
    # With --sample: 0 is greedy, above 1 is bolder; 1.0 if not given.
    temperature: float | None = None
    # With --sample: draw among so many likeliest tokens; 0 is all, and if not given.
    top_k: int | None = None
    # With --sample: draw among the likeliest tokens that have this probability
    # together; 1.0 is all, and if not given.
    top_p: float | None = None
    # With --sample: draw among tokens that have this share of the likeliest one's
    # probability; 0.0 is all, and if not given.
    min_p: float | None = None
    # With --sample: above 1 makes tokens that were used less likely; 1.2 if not given.
    repetition_penalty: float | None = None
    # With --sample: the penalty is for the last so many tokens; 0 is all, and if not
    # given.
    repetition_window: int | None = None
    # No sequence of so many tokens comes twice in a translation; 0 allows all.
    no_repeat_ngram: int = 0
    # What every translation must begin with.
    prefix: str = ""
    # What each translation must begin with: PATH[:PART] with a line for each line.
    prefixes: str = ""
    # Instead of translating: so many likeliest next words after the prefix, at most 16,
    # with their probabilities. An empty word stands for the end of the translation.
    alternatives: int = 0
    # Also write an HTML page that shows how each of up to 100 lines was translated.
    explain: str = ""
    # Most tokens of a translation; 0 is what the model was made for.
    max_tokens: int = 0
    # A line longer than the model reads: split translates it in pieces, refuse is an
    # error.
    too_long: Literal["split", "refuse"] = "split"
    # How many tokens are translated together, at most; 0 is what suits the device.
    batch_tokens: int = 0
    # With --sample: the same seed draws the same translations; 0 if not given.
    seed: int | None = None
    # Where to compute; auto takes a GPU where there is one.
    device: Literal["auto", "cpu", "gpu"] = "auto"

    def __post_init__(self) -> None:
        self._check_company()
        self._check_ranges()
        try:
            self.search()
        except InputError as error:
            raise InputError(_as_typed(str(error))) from None
        if self.n_best is not None and not 1 <= self.n_best <= self.beam:
            raise InputError(
                f"--n-best must be 1 to --beam, which keeps {self.beam} hypotheses; "
                f"got {self.n_best}: give a wider --beam, or another --n-best."
            )
        try:
            self.prefix.encode("utf-8")
        except UnicodeEncodeError:
            raise InputError(
                "--prefix must be UTF-8; it is not: set the terminal to UTF-8."
            ) from None

    def _check_company(self) -> None:
        """Raises InputError for an option that would be read and then ignored."""
        for name in SEARCHING:
            if self._is_given(name) and not self.beam:
                alone = "--sample alone" if self.sample else "it alone"
                raise InputError(
                    f"{_typed(name)} must come with --beam, which keeps several "
                    f"hypotheses; got {alone}: give --beam 5, or leave it out."
                )
        for name in SAMPLING:
            if self._is_given(name) and not self.sample:
                raise InputError(
                    f"{_typed(name)} must come with --sample, which draws at random; "
                    "got it alone: add --sample, or leave it out."
                )
        for name, others in NOT_WITH.items():
            for other in others:
                if self._is_given(name) and self._is_given(other):
                    raise InputError(
                        f"{_typed(name)} and {_typed(other)} do not go together: leave "
                        "one of them out."
                    )

    def _check_ranges(self) -> None:
        for name, is_right, remark in (
            (
                "beam",
                0 <= self.beam <= MOST_HYPOTHESES,
                f"0 (greedy) to {MOST_HYPOTHESES}",
            ),
            (
                "alternatives",
                0 <= self.alternatives <= MOST_ALTERNATIVES,
                f"0 (translates) to {MOST_ALTERNATIVES}",
            ),
            ("max_tokens", self.max_tokens >= 0, "at least 0 (0: the model's)"),
            ("batch_tokens", self.batch_tokens >= 0, "at least 0 (0: as suits)"),
            ("seed", 0 <= (self.seed or 0) < 2**31, "at least 0 and below 2**31"),
        ):
            if not is_right:
                got = getattr(self, name)
                raise InputError(f"{_typed(name)} must be {remark}; got {got}.")

    def _is_given(self, name: str) -> bool:
        return getattr(self, name) != _DEFAULTS[name]

    def _given(self, **values: Any) -> dict[str, Any]:
        """What was given for these options; a value as it stands here for the rest."""
        return {
            name: value if getattr(self, name) is None else getattr(self, name)
            for name, value in values.items()
        }

    def search(self) -> SampleOptions | BeamOptions:
        """How translations are found: by --beam, by --sample, or greedily."""
        if not self.beam:
            return self.sample_options()
        return BeamOptions(
            beam_size=self.beam,
            no_repeat_ngram=self.no_repeat_ngram,
            # What n_best may be is said in terms of --beam.
            n_best=min(max(self.n_best or 1, 1), self.beam),
            **self._given(length_penalty=1.0, length_norm="gnmt"),
        )

    def sample_options(self) -> SampleOptions:
        """How tokens are chosen; greedy without --sample."""
        if not self.sample:
            return dataclasses.replace(GREEDY, no_repeat_ngram=self.no_repeat_ngram)
        tutorial = {"temperature": 1.0, "top_k": 0, "repetition_penalty": 1.2}
        return SampleOptions(
            no_repeat_ngram=self.no_repeat_ngram,
            **self._given(**tutorial, top_p=1.0, min_p=0.0, repetition_window=0),
        )


_DEFAULTS = {
    field.name: field.default for field in dataclasses.fields(TranslateOptions)
}


def _typed(name: str) -> str:
    """An option as it is typed."""
    return "--" + name.replace("_", "-")


def _as_typed(message: str) -> str:
    """What a search says of its options, in the names that they have here."""
    name, _, rest = message.partition(" ")
    name = {"beam_size": "beam"}.get(name, name)
    return f"{_typed(name)} {rest}" if name in _DEFAULTS else message
