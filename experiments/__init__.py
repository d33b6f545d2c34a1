"""Baselines and benchmarks: they may import flaxformer_mt, never the reverse."""
