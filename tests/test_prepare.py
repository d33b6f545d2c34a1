"""The data doctor: a folder that is finished or not there, and that training trusts."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from flaxformer_mt import prepare as door
from flaxformer_mt.config import (
    Config,
    DataConfig,
    FilterConfig,
    ModelConfig,
    TrainConfig,
)
from flaxformer_mt.errors import InputError, RunBusyError, StorageError
from flaxformer_mt.prepare import Places, PrepareOptions, prepare_folder
from flaxformer_mt.text.preparation import prepare
from flaxformer_mt.text.prepared import data_of, open_prepared
from flaxformer_mt.train import fit
from flaxformer_mt.training.checkpoints import load_params
from tests.conftest import leaves

KILLS = int(os.environ.get("FLAXFORMER_MT_KILLS", "4"))
PAIRS = [(f"the word {i}", f"واژه {i} می\u200cشود") for i in range(300)]


def write_pairs(path, pairs=PAIRS):
    text = "".join(f"{src}\t{tgt}\n" for src, tgt in pairs)
    path.write_text(text, encoding="utf-8")
    return DataConfig(src=f"{path}:0", tgt=f"{path}:1", processes=1)


@pytest.fixture
def options(tmp_path):
    """A corpus of 300 pairs, and where it shall go."""
    data = write_pairs(tmp_path / "pairs.tsv")
    return PrepareOptions(prepared=str(tmp_path / "ready"), max_length=64, data=data)


def names(folder):
    """What a person sees there: the lock, which is hidden and empty, stays."""
    found = {entry.name for entry in folder.iterdir()}
    return found - {".ready.lock"}


def test_a_prepared_folder_holds_what_was_prepared(options, tmp_path):
    prepared, report = prepare_folder(options)
    opened = open_prepared(options.prepared)
    plain = prepare(options.data, max_length=64)
    for one in (prepared, opened):
        assert one.fingerprint() == plain.fingerprint()
        assert one.test_texts == plain.test_texts
        assert one.tally.dropped == plain.tally.dropped
        for i in (0, len(one.train) - 1):
            assert one.place(i) == plain.place(i)
    assert isinstance(opened.train.src.ids, np.memmap)
    assert names(tmp_path) == {"pairs.tsv", "ready"}
    saved = json.loads((tmp_path / "ready/report.json").read_text(encoding="utf-8"))
    assert saved == json.loads(json.dumps(report))
    assert saved["read"] == 300 and saved["overlap"] == {"src": 0, "tgt": 0}
    page = (tmp_path / "ready/report.html").read_text(encoding="utf-8")
    assert page.startswith("<!") and "<svg" in page


def test_the_report_adds_up(options):
    _, report = prepare_folder(options)
    left = report["read"]
    for rule in report["rules"]:
        assert rule["before"] == left and rule["after"] == left - rule["dropped"]
        left = rule["after"]
    assert report["kept"] == left == sum(p["pairs"] for p in report["parts"].values())
    assert sum(report["lengths"]["src_characters"]["counts"]) == left
    assert sum(report["ratio"]["counts"]) == left
    assert report["tokens"]["tgt"]["unknown"] == 0
    assert report["scripts"]["tgt"]["Arabic"] > 0
    batches = report["batches"]
    assert batches["curve"][0]["shapes"] == 1
    assert 0 <= batches["padding"]["src"] < 1


def test_training_from_a_prepared_folder_is_training_from_the_corpus(options, tmp_path):
    """Bit for bit."""
    prepare_folder(options)
    sizes = ModelConfig(max_length=64, d_model=16, d_ff=32, num_heads=2)
    config = Config(
        run=str(tmp_path / "direct"),
        data=options.data,
        model=sizes,
        train=TrainConfig(steps=4, batch_sentences=16, max_shapes=1),
    )
    fit(config, verbose=False)
    from_folder = config.replace(
        run=str(tmp_path / "folder"), data=DataConfig(prepared=options.prepared)
    )
    fit(from_folder, verbose=False)
    runs = [load_params(c.run, "latest").params for c in (config, from_folder)]
    for a, b in zip(*map(leaves, runs), strict=True):
        np.testing.assert_array_equal(a, b)
    # The same command goes on, from wherever the folder is by then.
    moved = tmp_path / "elsewhere"
    os.rename(options.prepared, moved)
    again = from_folder.replace(data=DataConfig(prepared=str(moved)))
    assert fit(again, verbose=False, more_steps=2).step == 6


def test_what_a_prepared_folder_decided_is_not_decided_again(options, tmp_path):
    prepare_folder(options)

    def refused(sentence, model=None, **data):
        config = Config(
            run=str(tmp_path / "run"),
            data=DataConfig(prepared=options.prepared, **data),
            model=model or ModelConfig(max_length=64),
        )
        with pytest.raises(InputError, match=sentence):
            fit(config, verbose=False)
        assert not (tmp_path / "run").exists()

    refused("data.tgt_normalize='none' was asked for", tgt_normalize="none")
    refused("data.filter.max_ratio=3 was asked for", filter=FilterConfig(max_ratio=3))
    refused("which has no words", subword_sampling=0.1)
    short = ModelConfig(max_length=8)
    refused("give --model.max-length 64, or prepare again", model=short)
    with pytest.raises(InputError, match=r"data\.prepared or data\.src"):
        DataConfig(prepared=options.prepared, src="a", tgt="b")
    with pytest.raises(InputError, match="give its name as --prepared"):
        PrepareOptions(data=DataConfig(prepared=options.prepared))


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A prepared folder, to be copied."""
    folder = tmp_path_factory.mktemp("finished")
    data = write_pairs(folder / "pairs.tsv")
    prepare_folder(PrepareOptions(prepared=str(folder / "ready"), data=data))
    return folder / "ready"


@pytest.mark.parametrize(
    "name",
    [
        *("train.src.ids.bin", "validation.lines.bin", "tokenizer.tgt.json"),
        *("held_out.jsonl", "prepared.json"),
    ],
)
@pytest.mark.parametrize("fault", ["flipped", "cut", "gone"])
def test_damage_to_a_prepared_folder_is_never_silent(finished, tmp_path, name, fault):
    shutil.copytree(finished, tmp_path / "ready")
    open_prepared(tmp_path / "ready")
    path = tmp_path / "ready" / name
    content = bytearray(path.read_bytes())
    if fault == "flipped":
        content[len(content) // 2] ^= 1
        path.write_bytes(content)
    elif fault == "cut":
        path.write_bytes(content[: len(content) // 2])
    else:
        path.unlink()
    with pytest.raises(InputError) as caught:
        open_prepared(tmp_path / "ready")
    assert str(tmp_path / "ready") in str(caught.value)


def test_what_is_there_already_is_not_written_over(options, tmp_path):
    (tmp_path / "ready").mkdir()
    (tmp_path / "ready/thesis.txt").write_text("mine", encoding="utf-8")
    for replace in (False, True):
        with pytest.raises(InputError, match="no prepared folder"):
            prepare_folder(PrepareOptions(**{**vars(options), "replace": replace}))
    (tmp_path / "ready/thesis.txt").unlink()
    first, _ = prepare_folder(options)  # an empty folder is none
    with pytest.raises(InputError, match="give --replace"):
        prepare_folder(options)
    write_pairs(tmp_path / "pairs.tsv", PAIRS[:200])
    second, _ = prepare_folder(PrepareOptions(**{**vars(options), "replace": True}))
    assert len(second.train) < len(first.train)
    assert open_prepared(options.prepared).fingerprint() == second.fingerprint()
    assert names(tmp_path) == {"pairs.tsv", "ready"}


def test_a_corpus_that_is_not_usable_leaves_nothing(options, tmp_path):
    (tmp_path / "pairs.tsv").write_bytes(b"a\tb\nc\t\xff\n")
    with pytest.raises(InputError, match="line 2, byte 3: not UTF-8"):
        prepare_folder(options)
    assert names(tmp_path) == {"pairs.tsv"}


def test_a_disk_that_is_full_is_one_sentence_and_leaves_nothing(
    options, tmp_path, monkeypatch
):
    def full(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(door, "write_manifest", full)
    with pytest.raises(StorageError, match="ready: the disk is full"):
        prepare_folder(options)
    assert names(tmp_path) == {"pairs.tsv"}


def test_two_processes_do_not_write_one_folder(options, tmp_path):
    with (
        Places.of(options.prepared).held(),
        pytest.raises(RunBusyError, match="another process is preparing"),
    ):
        prepare_folder(options)
    prepare_folder(options)


def command(options, *more):
    data = options.data
    return [
        *(sys.executable, "-m", "flaxformer_mt.prepare", "--max-length", "64"),
        *("--prepared", options.prepared, "--data.src", *data.src),
        *("--data.tgt", *data.tgt, *more),
    ]


def test_prepare_killed_at_any_point_leaves_nothing_or_a_finished_folder(
    options, tmp_path
):
    """SIGKILL at random times; FLAXFORMER_MT_KILLS sets how many."""
    pairs = [(f"{a} {i}", f"{b} {i}") for a, b in PAIRS for i in range(20)]
    write_pairs(tmp_path / "pairs.tsv", pairs)
    started = time.monotonic()
    whole = command(options, "--data.processes", "2")
    subprocess.run(whole, check=True, capture_output=True)
    seconds = time.monotonic() - started
    wanted = open_prepared(options.prepared).fingerprint()
    rng, killed = random.Random(0), 0
    for _ in range(KILLS):
        with subprocess.Popen(
            [*whole, "--replace"], stderr=subprocess.DEVNULL, start_new_session=True
        ) as process:
            time.sleep(rng.uniform(0.3, 1.0) * seconds)
            killed += process.poll() is None
            process.send_signal(signal.SIGKILL)
        # What was there before, or what is new: both are whole.
        if (tmp_path / "ready").exists():
            assert open_prepared(options.prepared).fingerprint() == wanted
        else:  # killed between two renames
            assert (tmp_path / ".ready.replaced").exists()
    assert killed
    subprocess.run([*whole, "--replace"], check=True, capture_output=True)
    assert names(tmp_path) == {"pairs.tsv", "ready"}
    assert open_prepared(options.prepared).fingerprint() == wanted


def test_the_door_says_what_it_did_and_how_to_train(options):
    done = subprocess.run(command(options), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert f"--data.prepared {options.prepared} --model.max-length 64" in done.stderr
    assert "held-out sentences that training has too: 0 source, 0 target" in done.stderr
    again = subprocess.run(command(options), capture_output=True, text=True)
    assert again.returncode == 2 and again.stderr.count("\n") == 1
    assert again.stderr.startswith("error: ") and "--replace" in again.stderr


@pytest.mark.parametrize("left", ["replaced", "preparing"])
def test_a_killed_removal_is_gone_on_with(options, tmp_path, monkeypatch, left):
    prepare_folder(options)
    number = len(list((tmp_path / "ready").iterdir()))
    unlink = os.unlink
    for count in range(number + 1):
        shutil.copytree(tmp_path / "ready", tmp_path / f".ready.{left}")
        calls = []

        def killed(path, *args, count=count, calls=calls, **kwargs):
            calls.append(path)
            if len(calls) > count:
                raise KeyboardInterrupt
            return unlink(path, *args, **kwargs)

        monkeypatch.setattr(os, "unlink", killed)
        with pytest.raises(KeyboardInterrupt):
            door.clear_folder(tmp_path / f".ready.{left}")
        monkeypatch.setattr(os, "unlink", unlink)
        again = PrepareOptions(**{**vars(options), "replace": True})
        prepare_folder(again)
        assert names(tmp_path) == {"pairs.tsv", "ready"}


def test_a_removal_that_had_but_begun_gives_the_folder_back(options, tmp_path):
    prepare_folder(options)
    (tmp_path / "ready").rename(tmp_path / ".ready.replaced")
    (tmp_path / ".ready.replaced" / door.MARKER).touch()
    with pytest.raises(InputError, match="give --replace"):
        prepare_folder(options)
    assert not (tmp_path / "ready" / door.MARKER).exists()
    prepare_folder(PrepareOptions(**{**vars(options), "replace": True}))
    assert names(tmp_path) == {"pairs.tsv", "ready"}


def test_a_name_that_is_not_utf8_is_told_before_anything_is_done(options, tmp_path):
    name = os.fsdecode(b"caf\xe9")
    (tmp_path / f"{name}.tsv").write_text("a\tb\n", encoding="utf-8")
    wrong = DataConfig(src=f"{tmp_path}/{name}.tsv:0", tgt=f"{tmp_path}/{name}.tsv:1")
    for more in ({"data": wrong}, {"prepared": f"{tmp_path}/{name}"}):
        with pytest.raises(InputError, match="must be UTF-8 as a name"):
            prepare_folder(PrepareOptions(**{**vars(options), **more}))


@pytest.mark.parametrize("name", ["/", "~nobody-of-that-name/x"])
def test_odd_places_are_no_tracebacks(options, name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    asked = PrepareOptions(**{**vars(options), "prepared": name})
    if name == "/":
        with pytest.raises(InputError, match="must name a folder"):
            prepare_folder(asked)
    else:  # a folder of that very name, as a shell has it
        prepare_folder(asked)
        assert (tmp_path / name).is_dir()


def test_folders_of_other_people_are_left_alone(options, tmp_path):
    for name in ("ready.old", "ready.partial", ".ready.replaced"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "thesis.txt").write_text("mine", encoding="utf-8")
    with pytest.raises(InputError, match="was not made by prepare: move it away"):
        prepare_folder(options)
    for name in ("ready.old", "ready.partial", ".ready.replaced"):
        assert (tmp_path / name / "thesis.txt").exists()
    (tmp_path / ".ready.replaced").rename(tmp_path / "elsewhere")
    prepare_folder(options)
    assert (tmp_path / "ready.old/thesis.txt").exists()


def test_what_appears_at_the_place_meanwhile_is_not_lost(
    options, tmp_path, monkeypatch
):
    def intrude(folder, prepared):
        (tmp_path / "ready").mkdir()
        (tmp_path / "ready/thesis.txt").write_text("mine", encoding="utf-8")

    monkeypatch.setattr(door, "write_manifest", intrude)
    with pytest.raises(InputError, match="no prepared folder"):
        prepare_folder(options)
    assert (tmp_path / "ready/thesis.txt").exists()
    assert names(tmp_path) == {"pairs.tsv", "ready"}


def test_a_replacement_that_was_killed_between_two_renames_is_mended(options, tmp_path):
    prepare_folder(options)
    wanted = open_prepared(options.prepared).fingerprint()
    (tmp_path / "ready").rename(tmp_path / ".ready.replaced")
    with pytest.raises(InputError, match="give --replace"):
        prepare_folder(options)
    assert open_prepared(options.prepared).fingerprint() == wanted


def test_a_link_stands_for_the_folder_that_it_names(options, tmp_path):
    prepare_folder(options)
    (tmp_path / "link").symlink_to(tmp_path / "ready")
    for _ in range(2):
        again = {**vars(options), "prepared": str(tmp_path / "link"), "replace": True}
        prepare_folder(PrepareOptions(**again))
    assert (tmp_path / "link").is_symlink()


HELD_AT_ITS_END = """
import time
from flaxformer_mt import prepare
def hold(folder, prepared):
    print("held", flush=True)
    time.sleep(600)
prepare.write_manifest = hold
prepare.main()
"""


def test_sigterm_stops_prepare_and_leaves_nothing(options, tmp_path):
    python, _, _, *arguments = command(options)
    held = [python, "-c", HELD_AT_ITS_END, *arguments]
    with subprocess.Popen(held, stdout=-1, stderr=-1, text=True) as process:
        assert process.stdout.readline() == "held\n"
        assert (tmp_path / ".ready.preparing").exists()
        process.terminate()
        said = process.stderr.read()
    assert process.returncode == 128 + signal.SIGTERM
    assert said.strip().endswith("stopped: nothing was written.")
    assert names(tmp_path) == {"pairs.tsv"}


def test_weights_that_changed_are_another_corpus(options, tmp_path):
    src, tgt = options.data.src[0], options.data.tgt[0]
    write_pairs(tmp_path / "more.tsv", [(f"m{i}", f"n{i}") for i in range(50)])
    more = f"{tmp_path / 'more.tsv'}:0", f"{tmp_path / 'more.tsv'}:1"

    def fingerprint(*weights):
        data = DataConfig(
            src=(src, more[0]), tgt=(tgt, more[1]), weights=weights, processes=1
        )
        return prepare(data, max_length=64).fingerprint()

    assert fingerprint(1.0, 2.0) == fingerprint(1.0, 2.0) != fingerprint(1.0, 1.0)


def test_subword_sampling_that_prepare_was_given_is_used(options, tmp_path):
    words = [(f"walked {i % 7} writing", f"talked {i} reading") for i in range(300)]
    write_pairs(tmp_path / "pairs.tsv", words)
    data = DataConfig(
        src=options.data.src,
        tgt=options.data.tgt,
        tokenizer="bpe",
        vocab_size=290,
        subword_sampling=0.2,
        processes=1,
    )
    prepare_folder(PrepareOptions(**{**vars(options), "data": data}))
    config = Config(data=DataConfig(prepared=options.prepared))
    opened = open_prepared(options.prepared)
    assert data_of(config, opened).subword_sampling == 0.2
    own = Config(data=DataConfig(prepared=options.prepared, subword_sampling=0.1))
    assert data_of(own, opened).subword_sampling == 0.1


def test_files_of_a_person_in_a_prepared_folder_are_not_replaced(options, tmp_path):
    prepare_folder(options)
    (tmp_path / "ready/my-notes.txt").write_text("mine", encoding="utf-8")
    with pytest.raises(InputError, match=r"also holds my-notes\.txt"):
        prepare_folder(PrepareOptions(**{**vars(options), "replace": True}))
    assert (tmp_path / "ready/my-notes.txt").exists()


def test_what_is_refused_at_once_leaves_not_even_a_lock(options, tmp_path):
    (tmp_path / "pairs.tsv").unlink()
    with pytest.raises(InputError, match="there is no file"):
        prepare_folder(options)
    assert list(tmp_path.iterdir()) == []
