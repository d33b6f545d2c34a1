"""What kind of processor a function that is being traced will run on.

Some sums and loops have a form that a CPU computes several times faster and a GPU
slower; both forms compute the same.
"""

import jax


def on_cpu() -> bool:
    """Whether computations go to the CPU: JAX's default device, or what `choose_device`
    made of it, since a machine with a GPU can be told to leave it alone."""
    chosen = jax.config.jax_default_device
    if chosen is None:
        return jax.default_backend() == "cpu"
    return getattr(chosen, "platform", chosen) == "cpu"
