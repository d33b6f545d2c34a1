"""How good a model is on the pairs that it is not trained on, while it is trained.

The loss is over all validation pairs; chrF++ and BLEU are over some of them, always the
same ones and as many as there is time for.
"""

import dataclasses
from itertools import islice
from typing import Any

import jax
import numpy as np

from flaxformer_mt.config import TrainConfig
from flaxformer_mt.decoding.translator import Translator
from flaxformer_mt.evaluation.metrics import score
from flaxformer_mt.model.transformer import Transformer
from flaxformer_mt.text.batching import EpochBatches
from flaxformer_mt.text.prepared import Prepared, TextPair
from flaxformer_mt.training.devices import Devices
from flaxformer_mt.training.step import loss_over

# A target token costs about as much to decode as to train on; its loss alone costs the
# forward third of that. Estimated, not timed, so that a resumed run scores the same
# pairs.
COST_OF_DECODING = 1.0
COST_OF_LOSS = 1 / 3
FEWEST_PAIRS = 20  # on which a score says anything
SPARE_TOKENS = 10  # that a translation may be longer than the longest reference


@dataclasses.dataclass(frozen=True)
class Validation:
    """The validation pairs of a run, and what scores a model on them."""

    model: Transformer
    prepared: Prepared
    batches: EpochBatches  # over the validation pairs
    devices: Devices
    scored: list[TextPair]  # the pairs that are translated
    longest: int  # tokens that a translation of one may have
    most_batches: int | None = None  # that the loss is over; None: all

    @classmethod
    def of(
        cls,
        cfg: TrainConfig,
        model: Transformer,
        prepared: Prepared,
        batches: EpochBatches,
        devices: Devices,
        *,
        tokens_between: float,
        most_batches: int | None = None,
    ) -> "Validation":
        """The validation of a run that learns from so many target tokens between two
        validations."""
        lengths = prepared.validation.lengths[:, 1] if len(batches) else np.zeros(1)
        tokens = cfg.validation_share * tokens_between
        tokens -= COST_OF_LOSS * float(lengths.sum())
        affordable = int(tokens / (COST_OF_DECODING * max(lengths.mean(), 1)))
        count = cfg.metric_pairs
        if cfg.best_by == "loss":
            count = min(count, affordable) if affordable >= FEWEST_PAIRS else 0
        scored = spread(prepared.validation_texts, count)
        tokenizer = prepared.tgt_tokenizer
        encoded = (len(tokenizer.encode(pair.tgt)) for pair in scored)
        longest = min(max(encoded, default=0) + SPARE_TOKENS, model.cfg.max_length)
        return cls(model, prepared, batches, devices, scored, longest, most_batches)

    def loss(self, params: Any) -> float:
        """Nats a token over all validation pairs: sums added, divided once."""
        return loss_over(
            params,
            (
                self.devices.place_batch(batch)
                for _, batch in islice(self.batches.in_order(), self.most_batches)
            ),
            model=self.model,
            by_core=self.devices.by_core,
        )

    def scores(self, params: Any) -> dict[str, Any]:
        """chrF++ and BLEU of greedy translations, with sacreBLEU's signatures; nothing
        where no pair is scored."""
        if not self.scored:
            return {}
        translations, _ = self.translator(params).decode(
            [pair.src for pair in self.scored], longest=self.longest
        )
        scores = score(translations, [pair.tgt for pair in self.scored])
        return {
            "chrf": round(scores.chrf, 3),
            "bleu": round(scores.bleu, 3),
            "scored_pairs": len(self.scored),
            "signatures": scores.signatures,
        }

    def translator(self, params: Any) -> Translator:
        """A model as it is now."""
        prepared = self.prepared
        # On one device: a translation is not spread over several.
        params = jax.device_put(self.devices.fetch(params))
        model = Transformer(self.model.cfg)
        return Translator(model, params, prepared.src_tokenizer, prepared.tgt_tokenizer)


def spread(pairs: list[TextPair], count: int) -> list[TextPair]:
    """So many of the pairs, evenly spread: a corpus often changes on its way."""
    count = min(count, len(pairs))
    return [pairs[(2 * i + 1) * len(pairs) // (2 * count)] for i in range(count)]
