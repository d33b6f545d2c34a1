"""One translation with what the model saw and weighed, as plain data.

L layers, H heads, T target tokens, S source tokens.
"""

import dataclasses

import numpy as np

from flaxformer_mt.errors import InputError

# A row of softmax in bfloat16 may be off by this much.
_SUM_TOLERANCE = 0.02


@dataclasses.dataclass(frozen=True, eq=False)
class Explanation:
    """One translation with what the model saw and weighed; checked where it is made.

    Raises:
      InputError: the parts do not fit each other, or a number is no probability.
    """

    src_text: str
    tgt_text: str
    src_tokens: tuple[str, ...]  # for display; the end is "", last
    tgt_tokens: tuple[str, ...]  # the same; without the end where it was cut off
    log_probabilities: tuple[float, ...]  # one a target token, nats
    # For each target position the likeliest (token, probability), likeliest first.
    alternatives: tuple[tuple[tuple[str, float], ...], ...]
    attention: np.ndarray  # [L, H, T, S] float, decoder to encoder; rows sum to 1
    score: float  # log-probability of the whole, nats
    run: str = ""  # name of the run

    def __post_init__(self) -> None:
        for side, tokens in (("source", self.src_tokens), ("target", self.tgt_tokens)):
            if not tokens:
                raise InputError(
                    f"an explanation needs tokens on both sides; its {side} side has "
                    "none, so leave empty lines out."
                )
        self._check_counts()
        self._check_numbers()
        _check_attention(self.attention, len(self.tgt_tokens), len(self.src_tokens))

    def _check_counts(self) -> None:
        for name in ("log_probabilities", "alternatives"):
            if len(getattr(self, name)) != len(self.tgt_tokens):
                raise InputError(
                    f"{name} must have an entry for each of the {len(self.tgt_tokens)} "
                    f"target tokens; got {len(getattr(self, name))}."
                )

    def _check_numbers(self) -> None:
        for log_probability in (*self.log_probabilities, self.score):
            if not log_probability <= 1e-3:  # NaN too
                raise InputError(
                    "log-probabilities must be numbers up to 0, in nats; got "
                    f"{log_probability}."
                )
        for position, listed in enumerate(self.alternatives):
            for token, probability in listed:
                if not 0 <= probability <= 1.001:
                    raise InputError(
                        "the probability of an alternative must be from 0 to 1; got "
                        f"{probability} for {token!r} at target position {position}."
                    )


def _check_attention(attention: np.ndarray, tgt: int, src: int) -> None:
    """Raises InputError where `attention` is no [L, H, tgt, src] of distributions."""
    shape = np.shape(attention)
    if len(shape) != 4 or 0 in shape or shape[2:] != (tgt, src):
        raise InputError(
            f"attention must be [layers, heads, {tgt} target tokens, {src} source "
            f"tokens]; got shape {list(shape)}."
        )
    # Written so that a NaN fails as well.
    if not (np.min(attention) >= 0 and np.max(attention) <= 1 + _SUM_TOLERANCE):
        raise InputError(
            "attention must be weights from 0 to 1; got from "
            f"{np.min(attention)} to {np.max(attention)}: pass them after the softmax."
        )
    off = float(np.max(np.abs(np.sum(attention, axis=-1, dtype=np.float64) - 1)))
    if off > _SUM_TOLERANCE:
        raise InputError(
            "each row of attention must sum to 1 over the source tokens; one is off by "
            f"{off:.3g}: leave padding out before, not after, the softmax."
        )
