"""The door: its options, and what it says before it serves."""

import contextlib
import sys

import numpy as np
import pytest

from flaxformer_mt import serve
from flaxformer_mt.command_line import parse
from flaxformer_mt.errors import InputError
from flaxformer_mt.serve import ServeOptions, check_installed, load
from flaxformer_mt.serving.guard import Guard
from flaxformer_mt.serving.limits import Limits
from flaxformer_mt.serving.model_card import ModelCard, direction, fingerprint
from flaxformer_mt.serving.server import listen
from flaxformer_mt.starter import model_folder
from flaxformer_mt.training.run_folder import RunFolder


def test_without_options_it_is_for_this_machine_alone(capsys):
    options = parse(ServeOptions, [], prog="serve")
    assert (options.host, options.port) == ("127.0.0.1", 8000)
    assert options.limits() == Limits()
    guard = Guard(None, Limits(), options.names())
    assert guard.is_ours("localhost") and not guard.is_ours("192.0.2.1")
    serve.tell_address(options, 8000)
    assert (
        capsys.readouterr().err == "http://localhost:8000 translates; Ctrl-C stops.\n"
    )


def test_s12_another_host_is_warned_of_and_reached_by_its_address(capsys):
    options = parse(ServeOptions, ["--host", "0.0.0.0"], prog="serve")
    serve.tell_address(options, 8000)
    assert "warning: --host 0.0.0.0 lets every machine" in capsys.readouterr().err
    guard = Guard(None, Limits(), options.names())
    assert guard.is_ours("192.0.2.1") and not guard.is_ours("evil.com")


def test_a_name_that_is_given_is_ours():
    options = parse(ServeOptions, ["--name", "mt.example"], prog="serve")
    guard = Guard(None, Limits(), options.names())
    assert guard.is_ours("mt.example") and not guard.is_ours("other.example")


@pytest.mark.parametrize(
    "arguments",
    [
        ["--port", "-1"],
        ["--port", "65536"],
        ["--port", "http"],
        ["--deadline", "0"],
        ["--deadline", "nan"],
        ["--deadline", "inf"],
        ["--max-beam", "65"],
        ["--max-waiting", "0"],
        ["--prot", "8000"],
    ],
)
def test_a_wrong_option_is_one_sentence(arguments):
    with pytest.raises(InputError):
        parse(ServeOptions, arguments, prog="serve")


def test_every_limit_is_an_option_and_arrives():
    arguments = ["--max-characters", "7", "--max-body", "9", "--patience", "2.5"]
    limits = parse(ServeOptions, arguments, prog="serve").limits()
    assert (limits.characters, limits.body, limits.patience) == (7, 9, 2.5)


def test_s13_a_port_that_is_taken_ends_it_before_anything_is_loaded(monkeypatch):
    monkeypatch.setattr(serve, "choose_device", None)  # would fail if it came to it
    with contextlib.closing(listen("127.0.0.1", 0)) as listener:
        port = str(listener.getsockname()[1])
        with pytest.raises(InputError, match=f"port {port} is in use"):
            serve.serve(["--port", port])


def test_a_folder_without_a_run_ends_it(tmp_path):
    with pytest.raises(InputError, match="is not a run folder"):
        serve.serve(["--run", str(tmp_path)])


def test_a_run_without_a_step_has_no_model_yet(tmp_path):
    assert load(RunFolder(tmp_path)) is None


def test_what_is_not_installed_is_told(monkeypatch):
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    monkeypatch.setattr(serve.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"pip install 'flaxformer-mt\[serve\]'"):
        check_installed()


def test_directions_come_from_the_language_or_from_the_letters():
    assert direction("fa", ["abc"]) == "rtl"
    assert direction("", ["سلام (hi)"]) == "rtl"
    assert direction("de", ["Hallo"]) == "ltr"
    assert direction("", ["1 2", ""]) == "auto"


def test_s17_the_card_and_the_model_are_read_once():
    card = ModelCard.of(RunFolder.of(model_folder()), None)
    assert card.name == "starter" and card.codes() == ("en", "fa")


def test_the_fingerprint_is_of_names_and_values():
    one, other = {"a": {"b": np.ones(2)}}, {"a": {"c": np.ones(2)}}
    assert fingerprint(one) == fingerprint({"a": {"b": np.ones(2)}})
    assert (
        len({fingerprint(each) for each in (one, other, {"a": {"b": np.zeros(2)}})})
        == 3
    )
