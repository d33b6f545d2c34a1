"""The door `evaluate`: scores of all and of each group, as a table or as JSON."""

import json

import pytest

from flaxformer_mt.errors import InputError
from flaxformer_mt.evaluate import EvaluateOptions, evaluate, read_test
from flaxformer_mt.starter import model_folder
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
