"""A new run starts from another: piece by piece, and nothing lost in silence."""

import dataclasses
import hashlib
import itertools

import jax
import numpy as np
import pytest

from flaxformer_mt.config import Config, DataConfig, ModelConfig
from flaxformer_mt.errors import InputError, StorageError
from flaxformer_mt.model.masks import make_masks
from flaxformer_mt.model.transformer import init_params, make_model
from flaxformer_mt.text.normalize import Normalizer
from flaxformer_mt.text.prepared import SRC_TOKENIZER, TGT_TOKENIZER
from flaxformer_mt.text.subwords import SentencePieceTokenizer, train_sentencepiece
from flaxformer_mt.text.tokenizer import CharacterTokenizer
from flaxformer_mt.text.vocabulary import BYTE_TOKENS, Specials, Vocabulary
from flaxformer_mt.training.checkpoints import CheckpointStore
from flaxformer_mt.training.named_arrays import flatten, nest
from flaxformer_mt.training.run_folder import CONFIG, GUARDED
from flaxformer_mt.training.storage import atomic_write_json
from flaxformer_mt.training.warm_start import (
    PLACES,
    SIZES,
    config_for_fine_tuning,
    match_pieces,
    model_options_of,
    tying_of,
    warm_start,
)
from tests.conftest import tiny_config

BASIC = Normalizer("basic")
OTHER_SPELLING = Specials(bos="[BOS]", pad="[PAD]", eos="[EOS]", unk="[UNK]")
OLD_TEXTS = ["low lower lowest", "new newer newest", "slow slower", "a b c d"]
NEW_TEXTS = [*OLD_TEXTS, "widest wider slowest", "lower and newer", "renew it"]


def characters(letters, specials=None, normalizer=BASIC):
    vocabulary = Vocabulary.of_characters([letters], specials or Specials())
    return CharacterTokenizer(vocabulary, normalizer)


def shuffled_characters(letters):
    """The tokens in an order of their own, the special ones spelled otherwise."""
    tokens = [*letters, *BYTE_TOKENS, *OTHER_SPELLING.spellings()]
    order = np.random.default_rng(5).permutation(len(tokens))
    vocabulary = Vocabulary([tokens[i] for i in order], OTHER_SPELLING)
    return CharacterTokenizer(vocabulary, BASIC)


def pieces(texts, size, specials=None, kind="unigram"):
    specials = specials or Specials()
    model = train_sentencepiece(
        texts * 3, kind=kind, vocab_size=size, specials=specials
    )
    return SentencePieceTokenizer(model, specials, BASIC)


@pytest.fixture(scope="module")
def old_characters():
    return characters("abcd "), characters("wxyz ")


@pytest.fixture(scope="module")
def old_pieces():
    return pieces(OLD_TEXTS, 279), pieces(OLD_TEXTS, 286, kind="bpe")


@pytest.fixture(scope="module")
def new_characters():
    return shuffled_characters("dcba efgh"), shuffled_characters("zyxw stuv")


@pytest.fixture(scope="module")
def new_pieces():
    return pieces(NEW_TEXTS, 286, OTHER_SPELLING), pieces(NEW_TEXTS, 310, kind="bpe")


KINDS = ["characters", "pieces"]


@pytest.fixture(params=KINDS)
def kind(request):
    return request.param


@pytest.fixture
def old(request, kind):
    return request.getfixturevalue(f"old_{kind}")


@pytest.fixture
def new(request, kind):
    return request.getfixturevalue(f"new_{kind}")


def model_for(tokenizers, config=None):
    sizes = [len(tokenizer.vocabulary) for tokenizer in tokenizers]
    return make_model(
        config or tiny_config(), src_vocab_size=sizes[0], tgt_vocab_size=sizes[1]
    )


def params_of(model, seed):
    """Numbers all of their own: biases and norms too, which start as 0 and 1."""
    draw = np.random.default_rng(seed)
    shapes = jax.eval_shape(lambda: init_params(model, jax.random.key(0)))
    return jax.tree.map(
        lambda leaf: draw.normal(size=leaf.shape).astype(np.float32), shapes
    )


def write_run(folder, tokenizers, params, config=None):
    """A run folder as a training leaves it."""
    folder.mkdir()
    for name, tokenizer in zip((SRC_TOKENIZER, TGT_TOKENIZER), tokenizers, strict=True):
        atomic_write_json(folder / name, tokenizer.to_dict())
    run_config = Config(model=config or tiny_config())
    atomic_write_json(folder / CONFIG, run_config.to_dict())
    with CheckpointStore(folder, guarded_files=GUARDED) as store:
        store.save(7, params, None, {}, loss=1.0)
        store.save(8, params_of(model_for(tokenizers, config), 99), None, {}, loss=2.0)
    return folder


@pytest.fixture
def start(tmp_path):
    """Makes a run of some tokenizers, and starts one of others from it."""

    def start(old, new, old_config=None, new_config=None):
        old_model, model = model_for(old, old_config), model_for(new, new_config)
        old_params, fresh = params_of(old_model, 1), params_of(model, 2)
        run = write_run(tmp_path / "old", old, old_params, old_config)
        warm = warm_start(run, model, fresh, *new)
        return Start(old_model, old_params, model, fresh, warm.params, warm.notes)

    return start


@dataclasses.dataclass
class Start:
    old_model: object
    old_params: dict
    model: object
    fresh: dict
    params: dict
    notes: list


def logits(model, params, src, tgt):
    src, tgt = np.array([src]), np.array([tgt])
    masks = make_masks(np.ones(src.shape, bool), np.ones(tgt.shape, bool))
    return np.asarray(model.apply({"params": params}, src, tgt, masks))[0]


def same_ids(old, new):
    """(new ids, the old ids) of the pieces that both vocabularies have."""
    match = match_pieces(old, new)
    tokens = old.vocabulary.tokens
    pairs = [
        (i, parts[0])
        for i, parts in enumerate(match.parts)
        if len(parts) == 1 and new.vocabulary.tokens[i] == tokens[parts[0]]
    ]
    return np.array(pairs).T


# ---- the model that comes out ----------------------------------------------------


def test_with_the_same_vocabulary_it_is_the_old_model(start, old):
    s = start(old, old)
    for name, array in flatten(s.params).items():
        np.testing.assert_array_equal(array, flatten(s.old_params)[name], name)


def test_a_sentence_of_old_pieces_gives_the_old_logits(start, old, new):
    s = start(old, new)
    src_new, src_old = same_ids(old[0], new[0])
    tgt_new, tgt_old = same_ids(old[1], new[1])
    letters = slice(-5, None)  # the last are no bytes
    ours = logits(s.model, s.params, src_new[letters], tgt_new[letters])
    theirs = logits(s.old_model, s.old_params, src_old[letters], tgt_old[letters])
    assert len(tgt_new) >= 256 + 5 and not np.array_equal(tgt_new, tgt_old)
    np.testing.assert_allclose(
        ours[:, tgt_new], theirs[:, tgt_old], rtol=1e-4, atol=1e-4
    )


def test_the_best_checkpoint_is_taken(start, old_characters):
    s = start(old_characters, old_characters)
    assert "starts from step 7 of" in s.notes[0]
    assert "the optimizer starts anew" in s.notes[0]


def test_the_longest_sentence_may_be_another(start, old_characters):
    s = start(
        *(old_characters, old_characters),
        new_config=tiny_config(max_length=24, dropout_rate=0.3),
    )
    np.testing.assert_array_equal(
        s.params["src_embed"]["embedding"], s.old_params["src_embed"]["embedding"]
    )


# ---- pieces ----------------------------------------------------------------------


def test_special_tokens_go_by_role_and_bytes_by_byte():
    old, new = characters("ab"), shuffled_characters("ab")
    parts = match_pieces(old, new).parts
    for name in ("pad_id", "bos_id", "eos_id", "unk_id"):
        theirs, ours = getattr(old.vocabulary, name), getattr(new.vocabulary, name)
        assert parts[ours] == [theirs]
    for ours, theirs in zip(
        new.vocabulary.byte_ids, old.vocabulary.byte_ids, strict=True
    ):
        assert parts[ours] == [theirs]


def test_a_new_piece_is_the_mean_of_its_parts(start, new_pieces):
    old, new = (characters("lowest n"), characters("lowest n")), new_pieces
    s = start(old, new)
    i = new[1].vocabulary.ids["\u2581low"]
    ids = old[1].encode_normalized(" low")
    ours, theirs = s.params, s.old_params
    np.testing.assert_allclose(
        ours["tgt_embed"]["embedding"][i],
        theirs["tgt_embed"]["embedding"][ids].mean(axis=0),
        rtol=1e-6,
    )
    np.testing.assert_allclose(
        ours["decoder"]["logits"]["kernel"][:, i],
        theirs["decoder"]["logits"]["kernel"][:, ids].mean(axis=1),
        rtol=1e-6,
    )
    np.testing.assert_allclose(
        ours["decoder"]["logits"]["bias"][i],
        theirs["decoder"]["logits"]["bias"][ids].mean(),
        rtol=1e-5,
    )


def test_a_piece_inside_of_a_word_is_cut_as_inside_of_a_word(old_pieces, new_pieces):
    """Where SentencePiece would put a space before it, as before a text."""
    old, new = old_pieces[0], new_pieces[1]
    made = {
        new.vocabulary.tokens[i]: [old.vocabulary.tokens[part] for part in parts]
        for i, parts in enumerate(match_pieces(old, new).parts)
        if len(parts) > 1
    }
    assert made["wer"] == ["w", "er"] and made["\u2581lo"] == ["\u2581", "l", "o"]
    assert all("".join(parts) == piece for piece, parts in made.items())


def test_a_piece_that_the_old_run_cannot_spell_keeps_its_fresh_row(start):
    old = characters("ab"), characters("ab")
    new = characters("ab漢"), characters("ab漢")
    s = start(old, new)
    i = new[0].vocabulary.ids["漢"]
    for name in ("src_embed", "tgt_embed"):
        np.testing.assert_array_equal(
            s.params[name]["embedding"][i], s.fresh[name]["embedding"][i]
        )
    np.testing.assert_array_equal(
        s.params["decoder"]["logits"]["kernel"][:, i],
        s.fresh["decoder"]["logits"]["kernel"][:, i],
    )


def test_a_letter_that_the_old_run_wrote_otherwise_starts_as_that_one():
    old = characters("\u06cc", normalizer=Normalizer("persian"))
    new = characters("\u064a")  # Arabic yeh
    ids = new.vocabulary.ids, old.vocabulary.ids
    assert match_pieces(old, new).parts[ids[0]["\u064a"]] == [ids[1]["\u06cc"]]


def test_the_notes_count_every_piece(start):
    old = characters("abc", normalizer=Normalizer("basic", lowercase=True))
    new = characters("abC漢語")
    s = start((old, old), (new, old))
    run = s.notes[0].split(" of ")[1].split(";")[0]
    assert s.notes[1:] == [
        f"262 of 265 source pieces have the parameters of {run}; 1 are made of their "
        "parts; 2 start anew",
        f"263 of 263 target pieces have the parameters of {run}; 0 are made of their "
        "parts; 0 start anew",
        f"warning: {run} normalised its source text by other rules than this run does",
    ]


# ---- what is refused -------------------------------------------------------------


def test_sizes_that_differ_are_named_with_what_to_give(tmp_path, old_characters):
    run = write_run(
        tmp_path / "old", old_characters, params_of(model_for(old_characters), 1)
    )
    config = tiny_config(d_model=32, norm="post", num_heads=4)
    model = model_for(old_characters, config)
    with pytest.raises(InputError) as caught:
        warm_start(run, model, params_of(model, 2), *old_characters)
    assert str(caught.value) == (
        f"model.d_model is 32 here and 16 in {run}, model.num_heads is 4 here and 2 in "
        f"{run}, model.norm is post here and pre in {run}: give --model.d-model 16 "
        "--model.num-heads 2 --model.norm pre."
    )


def test_every_option_of_the_model_is_known_here():
    """A new option of the model belongs in SIZES, or among those that may differ."""
    may_differ = {
        *("src_vocab_size", "tgt_vocab_size", "max_length", "dropout_rate"),
        *("tied_embeddings", "attention_dropout_rate", "feed_forward_dropout_rate"),
    }
    names = {field.name for field in dataclasses.fields(ModelConfig)}
    assert names == {*SIZES, *may_differ}


def test_a_folder_that_is_no_run_is_one_sentence(tmp_path, old_characters):
    model = model_for(old_characters)
    with pytest.raises(InputError, match="is not a run folder"):
        warm_start(tmp_path / "none", model, {}, *old_characters)


@pytest.mark.parametrize("what", ["params", "tokenizer", "config"])
def test_a_damaged_run_is_one_sentence(tmp_path, old_characters, what):
    params = params_of(model_for(old_characters), 1)
    run = write_run(tmp_path / "old", old_characters, params)
    if what == "params":
        for path in (run / "checkpoints" / "steps").rglob("d/*"):
            path.write_bytes(path.read_bytes()[:-1])
    else:
        path = run / {"tokenizer": SRC_TOKENIZER, "config": CONFIG}[what]
        path.write_text(path.read_text(encoding="utf-8") + " ", encoding="utf-8")
    with pytest.raises(StorageError) as caught:
        warm_start(run, model_for(old_characters), params, *old_characters)
    assert "\n" not in str(caught.value) and str(run) in str(caught.value)


def test_a_damaged_best_step_gives_way_and_that_is_told(tmp_path, old_characters):
    params = params_of(model_for(old_characters), 1)
    run = write_run(tmp_path / "old", old_characters, params)
    for path in (run / "checkpoints" / "steps" / "step_000000007").rglob("d/*"):
        path.write_bytes(b"")
    warm = warm_start(run, model_for(old_characters), params, *old_characters)
    assert "7" in warm.notes[0] and "starts from step 8 of" in warm.notes[1]


@pytest.mark.parametrize("where", ["there", "here"])
def test_parameters_of_another_model_are_refused(tmp_path, old_characters, where):
    model = model_for(old_characters)
    params, fresh = params_of(model, 1), params_of(model, 2)
    {"there": params, "here": fresh}[where]["encoder"]["extra"] = np.ones(3, np.float32)
    run = write_run(tmp_path / "old", old_characters, params)
    with pytest.raises(InputError, match=r"1 parameters differ, e\.g\. encoder/extra"):
        warm_start(run, model, fresh, *old_characters)


def test_a_renamed_output_layer_is_refused(tmp_path, old_characters):
    params = flatten(params_of(model_for(old_characters), 1))
    params["decoder/out/kernel"] = params.pop("decoder/logits/kernel")
    with pytest.raises(InputError, match="are not where this version has them"):
        tying_of(params, "weights/old")


def test_tokenizers_of_another_model_are_refused(tmp_path, old_characters):
    model = model_for(old_characters)
    other = characters("abcdefgh "), old_characters[1]
    run = write_run(tmp_path / "old", other, params_of(model, 1))
    with pytest.raises(InputError, match="a row for each piece"):
        warm_start(run, model, params_of(model, 2), *old_characters)


def test_the_source_run_is_not_written_to(start, tmp_path, old_characters):
    start(old_characters, old_characters)
    before = digests(tmp_path / "old")
    model = model_for(old_characters)
    warm_start(tmp_path / "old", model, params_of(model, 2), *old_characters)
    assert len(before) > 8 and digests(tmp_path / "old") == before


def digests(folder):
    return {
        path: path.is_file() and hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
    }


# ---- the table of arrays ---------------------------------------------------------

TYINGS = list(PLACES)


def tied_config(tying, **changes):
    return tiny_config(tied_embeddings=tying, **changes)


@pytest.mark.parametrize("tying", TYINGS)
def test_every_array_that_follows_a_vocabulary_is_in_the_table(tying):
    """And no other: those of equal shape are copied without a look at the pieces."""

    def shapes(src, tgt):
        model = make_model(tied_config(tying), src_vocab_size=src, tgt_vocab_size=tgt)
        tree = jax.eval_shape(lambda: init_params(model, jax.random.key(0)))
        names = flatten(jax.tree.map(lambda leaf: np.array(leaf.shape), tree))
        return {name: shape.tolist() for name, shape in names.items()}

    small, large = shapes(301, 301), shapes(311, 311)
    follow = {name for name in small if small[name] != large[name]}
    assert follow == {place.array for place in PLACES[tying].values()}
    assert tying_of(small, "it") == tying
    for array, axis in PLACES[tying].values():
        assert (small[array][axis], large[array][axis]) == (301, 311)


@pytest.mark.parametrize(("was", "now"), list(itertools.product(TYINGS, TYINGS)))
def test_what_was_one_table_may_become_several(start, was, now):
    """Bit for bit the same logits; several tables cannot become one."""
    both = (characters("abcd "), characters("abcd "))
    configs = tied_config(was), tied_config(now)
    if TYINGS.index(was) < TYINGS.index(now):
        with pytest.raises(InputError, match=f"give --model.tied-embeddings {was}"):
            start(both, both, *configs)
        return
    s = start(both, both, *configs)
    ids = both[0].encode("abc d")
    np.testing.assert_allclose(
        logits(s.model, s.params, ids, ids),
        logits(s.old_model, s.old_params, ids, ids),
        rtol=1e-5,
        atol=1e-5,
    )


# ---- options ---------------------------------------------------------------------


@pytest.fixture
def run_of_post_norm(tmp_path, old_characters):
    config = tiny_config(norm="post", max_length=20)
    params = params_of(model_for(old_characters, config), 1)
    return write_run(tmp_path / "old", old_characters, params, config)


def test_sizes_that_are_not_given_are_those_of_the_source(run_of_post_norm):
    assert model_options_of(run_of_post_norm) == {
        **{"d_model": 16, "d_ff": 32, "num_heads": 2, "norm": "post"},
        **{"num_encoder_layers": 2, "num_decoder_layers": 2},
    }
    config = Config(model=ModelConfig(d_ff=32, dropout_rate=0.3))
    model = config_for_fine_tuning(config, run_of_post_norm).model
    assert model == tiny_config(norm="post", max_length=128, dropout_rate=0.3)


def test_a_size_that_is_given_otherwise_is_refused(run_of_post_norm):
    config = Config(model=ModelConfig(d_model=64, num_heads=8))
    with pytest.raises(InputError) as caught:
        config_for_fine_tuning(config, run_of_post_norm)
    assert "model.d_model is 64 here and 16 in" in str(caught.value)
    assert "--model.d-model 16 --model.num-heads 2." in str(caught.value)
    preset = ModelConfig(d_model=64, num_heads=8)
    model = config_for_fine_tuning(config, run_of_post_norm, preset).model
    assert (model.d_model, model.num_heads) == (16, 2)


@pytest.mark.parametrize(("shared_vocab", "tying"), [(True, "all"), (False, "target")])
def test_one_table_for_all_needs_one_vocabulary(tmp_path, shared_vocab, tying):
    both = (characters("abcd "), characters("abcd "))
    config = tied_config("all")
    run = write_run(
        tmp_path / "old", both, params_of(model_for(both, config), 1), config
    )
    data = DataConfig(tokenizer="bpe", shared_vocab=shared_vocab)
    model = config_for_fine_tuning(Config(data=data), run).model
    assert model.tied_embeddings == tying
    same = DataConfig(tokenizers=str(run))
    model = config_for_fine_tuning(Config(data=same), run).model
    assert model.tied_embeddings == "all"


def test_the_arrays_that_come_out_are_plain(start, old_characters):
    s = start(old_characters, old_characters)
    assert jax.tree.structure(s.params) == jax.tree.structure(s.fresh)
    assert all(type(leaf) is np.ndarray for leaf in jax.tree.leaves(s.params))
    assert nest(flatten(s.params)).keys() == s.fresh.keys()
