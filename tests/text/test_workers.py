"""Several processes give what one gives, in its order, and none outlives its parent."""

import os
import signal
import subprocess
import sys
import time

import pytest

from flaxformer_mt.errors import FlaxformerError, InputError
from flaxformer_mt.text.workers import Workers


def add(state, item):
    return state + item


def refuse(state, item):
    raise InputError(f"line {item} is damaged")


def end(state, item):
    os._exit(1)


@pytest.mark.parametrize("processes", [1, 2])
def test_results_come_in_the_order_of_the_items(processes):
    with Workers(add, 10, processes=processes) as workers:
        assert list(workers.map(iter(range(50)))) == list(range(10, 60))


@pytest.mark.parametrize("processes", [1, 2])
def test_a_fault_in_a_worker_is_the_same_sentence(processes):
    with (
        Workers(refuse, None, processes=processes) as workers,
        pytest.raises(InputError, match="line 0 is damaged"),
    ):
        list(workers.map(range(9)))


def test_a_worker_that_is_ended_from_outside_is_one_sentence():
    with (
        Workers(end, None, processes=2) as workers,
        pytest.raises(FlaxformerError, match="ended from outside"),
    ):
        list(workers.map(range(9)))


# A script without `if __name__ == "__main__"`, as people write them.
SCRIPT = """
import operator, sys, time
from flaxformer_mt.text.workers import Workers
print("begun", flush=True)
with Workers(operator.add, 1, processes=2) as workers:
    print(list(workers.map([1, 2, 3])), flush=True)
    print(*workers.pool._processes, flush=True)
    if sys.argv[1:] == ["wait"]:
        time.sleep(60)
"""


def test_a_script_without_a_guard_is_not_run_again_by_its_workers(tmp_path):
    path = tmp_path / "script.py"
    path.write_text(SCRIPT, encoding="utf-8")
    done = subprocess.run([sys.executable, path], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("begun") == 1 and "[2, 3, 4]" in done.stdout


def is_alive(pid):
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii") as file:
            return file.read().split(") ")[1][0] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="looks into /proc")
def test_no_worker_outlives_a_parent_that_is_killed(tmp_path):
    path = tmp_path / "script.py"
    path.write_text(SCRIPT, encoding="utf-8")
    command = [sys.executable, str(path), "wait"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as parent:
        said = [parent.stdout.readline() for _ in range(3)]
        pids = [int(pid) for pid in said[-1].split()]
        assert len(pids) == 2 and all(map(is_alive, pids))
        parent.send_signal(signal.SIGKILL)
        parent.wait()
        deadline = time.monotonic() + 20
        while any(map(is_alive, pids)) and time.monotonic() < deadline:
            time.sleep(0.02)
        assert not any(map(is_alive, pids))
