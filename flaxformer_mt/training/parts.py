"""How many parts a CPU makes of the rows of a batch, one computed after another.

What a step keeps for its gradient is new memory each time: above 32 MB glibc gives it
back to the system at the end of the step, which then hands it out again page by page,
and that takes as long as a third of a small model's step. Fewer rows at a time keep
less, and closer to the processor. But each part costs the starts of its kernels, and a
pass over the sums of gradients that it is added to.
"""

import math

from flaxformer_mt.config import ModelConfig
from flaxformer_mt.model.processor import on_cpu
from flaxformer_mt.text.batching import Batch

# Measured on two x86-64 cores (docs/performance.md); only their ratios matter.
SECONDS_A_NEW_BYTE = 0.6e-9
SECONDS_A_PART = 1.5e-3
SECONDS_A_PARAMETER = 1.2e-9  # of a part's gradient, added to the others'
FREE_BYTES = 24 << 20  # so much is not given back
NUMBERS_A_PLACE = 22  # kept of each position in a layer, in widths of the model


def bytes_kept(batch: Batch, cfg: ModelConfig) -> int:
    """About what a step keeps of a batch for its gradient, in float32."""
    rows, source = batch.src_ids.shape
    target = batch.tgt_in_ids.shape[1]
    layers_in, layers_out = cfg.num_encoder_layers, cfg.num_decoder_layers
    places = source * layers_in + target * layers_out
    weights = source**2 * layers_in + (target**2 + source * target) * layers_out
    numbers = NUMBERS_A_PLACE * cfg.d_model * places + cfg.num_heads * weights
    return 4 * rows * numbers


def parts_of(batch: Batch, cfg: ModelConfig, num_params: int, fewest: int = 1) -> int:
    """The number of parts that a device is to make of its rows.

    Args:
      batch: the rows of one device; shapes alone matter.
      num_params: of the model.
      fewest: parts that were asked for.
    """
    rows, kept = len(batch.src_ids), bytes_kept(batch, cfg)
    if not on_cpu() or kept <= FREE_BYTES:
        return min(fewest, rows)
    each = SECONDS_A_PART + SECONDS_A_PARAMETER * num_params
    best = math.sqrt(kept * SECONDS_A_NEW_BYTE / each)
    lowest = max(round(best / 1.4), 1)
    near = range(lowest, max(round(best * 1.4), lowest) + 1)

    def computed(parts: int) -> int:  # rows, with those that fill up the last part
        return parts * -(-rows // parts)

    even = min(near, key=lambda parts: (computed(parts) + parts, computed(parts)))
    return min(max(even, fewest), rows)
