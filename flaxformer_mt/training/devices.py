"""Where the numbers are computed."""

from typing import Literal

import jax

from flaxformer_mt.errors import InputError

Device = Literal["auto", "cpu", "gpu"]


# Versions that compute wrong numbers without saying so (jax-ml/jax#39103).
BAD_JAX_VERSIONS = ("0.10.2",)


def check_versions(jax_version: str = jax.__version__) -> None:
    """Raises InputError for a version of JAX that is known to be wrong."""
    if jax_version in BAD_JAX_VERSIONS:
        raise InputError(
            f"jax {jax_version} is known to return wrong results on the CPU: install "
            "another, as in pip install 'jax>=0.10.1,!=0.10.2'."
        )


def choose_device(wanted: Device) -> jax.Device:
    """The device to compute on, made JAX's default.

    auto takes a GPU where JAX has one and the CPU elsewhere.

    Raises:
      InputError: a GPU is asked for and JAX finds none.
    """
    try:
        device = jax.devices("cpu")[0] if wanted == "cpu" else jax.devices()[0]
    except RuntimeError as error:
        first = str(error).split("\n")[0]
        raise InputError(
            f"JAX cannot start a device ({first}): unset JAX_PLATFORMS, or check the "
            "driver."
        ) from error
    if wanted == "gpu" and device.platform != "gpu":
        raise InputError(
            "--device gpu needs a GPU that JAX can use; it found only "
            f"{describe_device(device)}: install the extra 'cuda' and check the "
            "driver, or use --device cpu."
        )
    jax.config.update("jax_default_device", device)
    return device


def describe_device(device: jax.Device) -> str:
    """The device in words: "GPU (NVIDIA H100)" or "CPU"."""
    if device.platform == "cpu":
        return "CPU"
    return f"{device.platform.upper()} ({device.device_kind})"
