"""What a program needs, and what the machine has."""

import jax
import jax.numpy as jnp
import pytest

from flaxformer_mt.errors import InputError
from flaxformer_mt.training.memory import check_memory, device_memory, memory_of


def test_the_memory_of_a_program_counts_what_is_written_in_place_once():
    x = jnp.zeros(1000)
    plain = jax.jit(lambda x: x + 1).lower(x).compile()
    in_place = jax.jit(lambda x: x + 1, donate_argnums=0).lower(x).compile()
    assert (memory_of(plain), memory_of(in_place)) == (8000, 4000)


def make_machine(root, files):
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text, encoding="utf-8")
    return root


MEMINFO = {"proc/meminfo": "MemTotal: 9000 kB\nMemAvailable:    8000 kB\n"}
V2 = {
    **MEMINFO,
    "proc/self/cgroup": "0::/a/b\n",
    "sys/fs/cgroup/a/b/memory.max": "max\n",
    "sys/fs/cgroup/a/memory.max": "3000000\n",
    "sys/fs/cgroup/a/memory.current": "1000000\n",
    "sys/fs/cgroup/a/memory.stat": "anon 5\nactive_file 7\ninactive_file 400000\n",
}
V1 = {
    **MEMINFO,
    "proc/self/cgroup": "8:pids:/\n4:cpu,memory:/docker/x\n",
    "sys/fs/cgroup/memory/memory.limit_in_bytes": "2000000\n",
    "sys/fs/cgroup/memory/memory.usage_in_bytes": "500000\n",
}
NO_LIMIT = {**V1, "sys/fs/cgroup/memory/memory.limit_in_bytes": f"{2**63 - 4096}\n"}


@pytest.mark.parametrize(
    ("files", "expected"),
    [(MEMINFO, 8_192_000), (V2, 2_400_000), (V1, 1_500_000), (NO_LIMIT, 8_192_000)],
    ids=["no container", "v2", "v1", "v1 without a limit"],
)
def test_the_memory_of_a_container_is_what_is_left_of_its_limit(
    tmp_path, files, expected
):
    device = jax.devices("cpu")[0]
    assert device_memory(device, root=make_machine(tmp_path, files)) == expected


def test_what_does_not_fit_says_what_to_lower():
    check_memory(10, 10, what="a step")
    check_memory(10, None, what="a step")
    with pytest.raises(
        InputError,
        match=r"^a step needs 3.1 GB .* but 12 MB can .*--train.batch-sentences or "
        r"--train.batch-tokens .*--train.accumulate .*--model.max-length",
    ):
        check_memory(3_100_000_000, 12_000_000, what="a step")
