"""What `translate` may be asked for: nothing is read and then ignored."""

import pytest

from flaxformer_mt.command_line import parse
from flaxformer_mt.decoding.beam_search import BeamOptions
from flaxformer_mt.decoding.sampling import GREEDY, SampleOptions
from flaxformer_mt.errors import InputError
from flaxformer_mt.translate_options import TranslateOptions


def options(text: str) -> TranslateOptions:
    return parse(TranslateOptions, text.split(), prog="translate")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        # Values without what they need.
        ("--temperature 1", "--temperature must come with --sample"),
        ("--top-k 3", "--top-k must come with --sample"),
        ("--top-p 0.9", "--top-p must come with --sample"),
        ("--min-p 0.1", "--min-p must come with --sample"),
        ("--repetition-penalty 2", "--repetition-penalty must come with --sample"),
        ("--repetition-window 9", "--repetition-window must come with --sample"),
        ("--seed 3", "--seed must come with --sample"),
        ("--length-penalty 0", "--length-penalty must come with --beam"),
        ("--length-norm plain", "--length-norm must come with --beam"),
        ("--n-best 3", "--n-best must come with --beam"),
        ("--n-best 3 --sample", "got --sample alone: give --beam 5"),
        # What does not go together.
        ("--sample --beam 5", "--sample and --beam do not go together"),
        ("--beam 5 --temperature 1", "--temperature must come with --sample"),
        ("--prefix a --prefixes b", "--prefixes and --prefix do not go together"),
        ("--alternatives 5 --beam 2", "--alternatives and --beam do not go together"),
        ("--alternatives 5 --scores", "--alternatives and --scores do not"),
        ("--alternatives 5 --explain x", "--alternatives and --explain do not"),
        ("--alternatives 5 --too-long refuse", "--alternatives and --too-long do"),
        ("--alternatives 5 --batch-tokens 9", "--alternatives and --batch-tokens"),
        ("--explain x --sample", "--explain and --sample do not go together"),
        ("--explain x --max-tokens 9", "--explain and --max-tokens do not"),
        # Values, under the names that were typed.
        ("--beam 65", "--beam must be 0 (greedy) to 64; got 65."),
        ("--beam -1", "--beam must be 0 (greedy) to 64; got -1."),
        ("--beam 3 --n-best 4", "--beam, which keeps 3 hypotheses; got 4"),
        ("--beam 3 --n-best 0", "--n-best must be 1 to --beam"),
        ("--beam 3 --length-penalty -1", "--length-penalty must be"),
        ("--beam 3 --length-penalty nan", "--length-penalty must be"),
        ("--beam 3 --no-repeat-ngram -1", "--no-repeat-ngram must be"),
        ("--no-repeat-ngram -1", "--no-repeat-ngram must be"),
        ("--sample --top-k -1", "--top-k must be"),
        ("--sample --top-p 0", "--top-p must be"),
        ("--sample --min-p 2", "--min-p must be"),
        ("--sample --repetition-window -1", "--repetition-window must be"),
        ("--alternatives 17", "--alternatives must be 0 (translates) to 16; got 17."),
        ("--max-tokens -1", "--max-tokens must be at least 0"),
        ("--batch-tokens -1", "--batch-tokens must be at least 0"),
        ("--sample --seed -1", "--seed must be at least 0 and below 2**31; got -1."),
        ("--too-long cut", "cut"),
        ("--length-norm odd --beam 2", "odd"),
        ("--prefix \udcff", "--prefix must be UTF-8"),
    ],
)
def test_what_would_be_ignored_or_cannot_be_is_one_sentence(arguments, message):
    with pytest.raises(InputError) as caught:
        options(arguments)
    said = str(caught.value)
    assert message in said and "\n" not in said


def test_without_options_the_search_is_greedy():
    assert options("").search() == GREEDY
    ngram = options("--no-repeat-ngram 3").search()
    assert (ngram.temperature, ngram.no_repeat_ngram) == (0.0, 3)


def test_sampling_takes_the_tutorials_values_where_none_is_given():
    assert options("--sample").search() == SampleOptions(
        temperature=1.0, top_k=0, repetition_penalty=1.2
    )
    given = options(
        "--sample --temperature 0 --top-k 7 --top-p 0.5 --min-p 0.25 "
        "--repetition-penalty 1 --repetition-window 9 --no-repeat-ngram 4"
    )
    assert given.search() == SampleOptions(
        temperature=0.0,
        top_k=7,
        top_p=0.5,
        min_p=0.25,
        repetition_penalty=1.0,
        repetition_window=9,
        no_repeat_ngram=4,
    )


def test_beam_search_takes_what_is_given():
    assert options("--beam 4").search() == BeamOptions(beam_size=4)
    given = options(
        "--beam 8 --n-best 3 --length-penalty 0 --length-norm plain --no-repeat-ngram 2"
    )
    assert given.search() == BeamOptions(
        beam_size=8,
        n_best=3,
        length_penalty=0.0,
        length_norm="plain",
        no_repeat_ngram=2,
    )
