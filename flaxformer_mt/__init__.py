"""Train a translation model on sentence pairs of your own, in JAX and Flax."""

__version__ = "0.1.0"
