"""The door `evaluate`: scores of all and of each group, as a table or as JSON, and two
runs against each other."""

import json
import shutil
from types import SimpleNamespace

import pytest

from flaxformer_mt.command_line import parse
from flaxformer_mt.decoding.translation import (
    Report,
)
from flaxformer_mt.decoding.translator import Translator
from flaxformer_mt.errors import InputError
from flaxformer_mt.evaluate import EvaluateOptions, evaluate, read_test
from flaxformer_mt.starter import model_folder
from flaxformer_mt.text.prepared import sealed
from flaxformer_mt.training.run_folder import RunFolder


@pytest.fixture
def files(tmp_path):
    (tmp_path / "src.txt").write_text("I drink tea.\nHello.\n", encoding="utf-8")
    (tmp_path / "ref.txt").write_text("من چای می\u200cنوشم.\nسلام.\n", encoding="utf-8")
    (tmp_path / "group.txt").write_text("drinks\ngreetings\n", encoding="utf-8")
    return {name: str(tmp_path / f"{name}.txt") for name in ("src", "ref", "group")}


def test_files_of_ones_own_are_scored_and_groups_apart(files, capsys):
    arguments = [f"--{name}={path}" for name, path in files.items()]
    evaluate([*arguments, "--json"])
    result = json.loads(capsys.readouterr().out)
    assert set(result["scores"]) == {"all", "drinks", "greetings"}
    assert result["scores"]["all"]["num_sentences"] == 2
    assert [s["src"] for s in result["sentences"]] == ["I drink tea.", "Hello."]
    assert "chrF2++" in json.dumps(result) or "nw:2" in json.dumps(result)
    evaluate(arguments)
    shown = capsys.readouterr()
    assert "chrF++" in shown.out and "drinks" in shown.out and "nw:2" in shown.out
    assert "reference" in shown.err
    assert "2 sentences are too few for a score" in shown.err


@pytest.mark.parametrize(
    ("labels", "scored"),
    [("drinks\n\n", {"all", "drinks"}), ("one\none\n", {"all"}), ("\n\n", {"all"})],
)
def test_a_group_that_is_not_all_is_scored_apart(
    files, tmp_path, capsys, labels, scored
):
    (tmp_path / "group.txt").write_text(labels, encoding="utf-8")
    evaluate([*(f"--{name}={path}" for name, path in files.items()), "--json"])
    assert set(json.loads(capsys.readouterr().out)["scores"]) == scored


def test_a_group_has_a_name_of_its_own(files, tmp_path):
    (tmp_path / "group.txt").write_text("all\n\n", encoding="utf-8")
    with pytest.raises(InputError, match="cannot be called 'all'"):
        read_test(
            EvaluateOptions(**files), RunFolder.of(model_folder())
        )  # before anything is translated


def test_a_group_for_each_sentence_is_needed(files, tmp_path):
    (tmp_path / "group.txt").write_text("one\n", encoding="utf-8")
    with pytest.raises(InputError, match="got 1 lines for 2 sentences"):
        evaluate([f"--{name}={path}" for name, path in files.items()])


def test_unequal_files_are_refused(files, tmp_path):
    (tmp_path / "ref.txt").write_text("یک\n", encoding="utf-8")
    with pytest.raises(InputError, match="source has 2 lines, target 1"):
        evaluate([f"--src={files['src']}", f"--ref={files['ref']}"])


def test_a_run_without_kept_pairs_asks_for_some(tmp_path):
    folder = RunFolder.of(tmp_path)
    with pytest.raises(InputError, match="kept no pairs for test: give some"):
        read_test(EvaluateOptions(), folder)


def test_the_starter_model_knows_its_own_test():
    pairs = read_test(EvaluateOptions(), RunFolder.of(model_folder()))
    assert len(pairs) > 600 and {p.group for p in pairs} == {"written", "grammar"}


def test_a_published_figures_tokenizer_can_be_asked_for(files, capsys):
    evaluate([f"--src={files['src']}", f"--ref={files['ref']}", "--bleu-tokenizer=13a"])
    assert "tok:13a" in capsys.readouterr().out
    with pytest.raises(InputError, match="flores"):
        parse(EvaluateOptions, ["--bleu-tokenizer=flores200"], prog="evaluate")


# ---- two runs ------------------------------------------------------------------------


def held_out(*numbers, part="test"):
    rows = [
        {
            "part": part,
            "line": i,
            "src": f"Sentence {i} is here.",
            "tgt": f"جملهٔ {i} این جا روی میز است.",
            "group": "",
        }
        for i in numbers
    ]
    return "".join(json.dumps(row) + "\n" for row in rows)


@pytest.fixture
def two_runs(tmp_path, monkeypatch):
    """Two run folders that kept the same 12 pairs, without a model: `good` knows them
    all, `bad` every fourth."""
    starter = RunFolder.of(model_folder())
    for name in ("good", "bad"):
        (tmp_path / name).mkdir()
        for file in ("config.json", "tokenizer.src.json", "tokenizer.tgt.json"):
            shutil.copyfile(starter.path / file, tmp_path / name / file)
        (tmp_path / name / "held_out.jsonl").write_text(
            sealed(held_out(*range(12))), encoding="utf-8"
        )

    def load(path, *, note):
        def decode(texts, search=None):
            numbers = [int(text.split()[1]) for text in texts]
            return [
                f"جملهٔ {i} این جا روی میز است."
                if path.name == "good" or i % 4 == 0
                else "نه."
                for i in numbers
            ], Report(truncated=len(texts))

        return SimpleNamespace(
            decode=decode, tgt_tokenizer=RunFolder.of(path).tokenizers()[1]
        )

    monkeypatch.setattr(Translator, "load", load)
    return tmp_path


def compare(two_runs, a="good", b="bad", *options):
    evaluate(
        ["--compare", str(two_runs / a), str(two_runs / b), "--resamples=200", *options]
    )


def test_two_runs_are_compared_on_the_pairs_that_both_kept(two_runs, capsys):
    (two_runs / "bad" / "held_out.jsonl").write_text(
        sealed(held_out(*range(2, 30)) + held_out(0, part="validation")),
        encoding="utf-8",
    )
    compare(two_runs)
    shown = capsys.readouterr()
    assert "10 sentences: A is better: p = 0.0" in shown.out
    assert "(A 12, B 28): scored on the 10 that both kept" in shown.err
    assert "B: 10 translations were cut" in shown.err
    assert "bs:200|seed:12345" in shown.out and "tok:intl" in shown.out
    assert shown.err.count("reference") == 5  # --show-sentences
    # Right-to-left text is isolated, each translation on a line of its own.
    assert "    B       6.4  \u2068نه.\u2069\n" in shown.err


def test_the_comparison_as_json_has_everything(two_runs, capsys):
    compare(two_runs, "bad", "good", "--json", "--bleu-tokenizer=char")
    result = json.loads(capsys.readouterr().out)
    assert result["verdict"].startswith("B is better")
    assert result["b"]["exact_match"] == 100 and result["a"]["exact_match"] == 25
    assert 0 < result["tests"]["chrf"]["p_value"] < 0.05
    assert "tok:char" in result["tests"]["bleu"]["signature"]
    assert (len(result["sentences"]), result["part"]) == (12, "test")
    first = result["sentences"][1]
    assert (first["translation_a"], first["chrf_b"]) == ("نه.", pytest.approx(100))
    assert result["runs"]["A"].endswith("bad") and len(result["told"]) == 3


def test_a_run_against_itself_is_no_verdict(two_runs, capsys):
    compare(two_runs, "bad", "bad")
    shown = capsys.readouterr()
    assert "12 sentences: all translations are the same" in shown.out
    assert "differ most" not in shown.err


def test_runs_with_no_pair_in_common_ask_for_some(two_runs):
    (two_runs / "bad" / "held_out.jsonl").write_text(
        sealed(held_out(50)), encoding="utf-8"
    )
    with pytest.raises(InputError, match="new to both with --src and --ref"):
        compare(two_runs)
    with pytest.raises(InputError, match="kept no pairs for validation: give some"):
        compare(two_runs, "good", "bad", "--part=validation")


def test_pairs_of_ones_own_are_new_to_both(two_runs, tmp_path, capsys):
    rows = [json.loads(row) for row in held_out(*range(40, 52)).split("\n") if row]
    for side in ("src", "tgt"):
        text = "".join(row[side] + "\n" for row in rows)
        (tmp_path / side).write_text(text, encoding="utf-8")
    (two_runs / "bad" / "held_out.jsonl").unlink()
    given = (f"--src={tmp_path / 'src'}", f"--ref={tmp_path / 'tgt'}")
    compare(two_runs, "good", "bad", *given, "--show-sentences=0")
    shown = capsys.readouterr()
    assert "A is better" in shown.out and "kept different" not in shown.err
    assert "reference" not in shown.err


def test_runs_that_normalise_differently_are_told_of(two_runs, capsys):
    path = two_runs / "bad" / "tokenizer.tgt.json"
    saved = json.loads(path.read_text(encoding="utf-8"))
    saved["lowercase"] = True
    path.write_text(json.dumps(saved), encoding="utf-8")
    compare(two_runs)
    told = capsys.readouterr().err
    assert "differently (lowercase False in A, True in B): references" in told


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--compare", "a"], "takes two runs, RUN_A RUN_B; got 1"),
        (["--compare", "a", "b", "--run", "c"], "leave --run out"),
        (
            ["--compare", "a", "b", "--src=s", "--ref=r", "--group=g"],
            "leave --group out",
        ),
        (["--compare", "a", "b", "--resamples", "10"], "100 or more"),
        (["--resamples", "5000"], "--resamples needs --compare"),
        (["--compare", "/no/such", "b"], "is not a run folder"),
    ],
)
def test_a_comparison_that_cannot_be_is_one_sentence(arguments, message):
    with pytest.raises(InputError, match=message):
        evaluate(arguments)


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: text[: len(text) // 2],
        lambda text: "",
        lambda text: text.replace("Sentence 3", "Sentence 4"),
        lambda text: "\xff" + text,
    ],
    ids=["halved", "emptied", "changed", "no UTF-8"],
)
def test_pairs_that_were_damaged_are_never_scored(two_runs, damage):
    path = two_runs / "bad" / "held_out.jsonl"
    path.write_bytes(damage(path.read_text(encoding="utf-8")).encode("latin-1"))
    with pytest.raises(InputError, match=r"held_out\.jsonl is damaged") as error:
        compare(two_runs)
    assert len(str(error.value)) < 500


def test_pairs_from_before_there_were_seals_are_read(two_runs, capsys):
    path = two_runs / "bad" / "held_out.jsonl"
    path.write_text(held_out(*range(12)), encoding="utf-8")
    compare(two_runs)
    assert "12 sentences: A is better" in capsys.readouterr().out
