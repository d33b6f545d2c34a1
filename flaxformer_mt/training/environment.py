"""What a training was computed with, beside its own options."""

import os
import platform
from importlib.metadata import version

from flaxformer_mt import __version__
from flaxformer_mt.training.devices import Devices, cpu_count

PACKAGES = ("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy")


def environment(devices: Devices) -> dict[str, str]:
    """Versions and machine, recorded with each checkpoint: where they are the same, a
    run that goes on is the same bit for bit."""
    return {
        "flaxformer-mt": __version__,
        "python": platform.python_version(),
        "machine": platform.machine(),
        "device": devices.describe(),
        "cpus": str(cpu_count()),
        "XLA_FLAGS": os.environ.get("XLA_FLAGS", ""),
        **{package: version(package) for package in PACKAGES},
    }
