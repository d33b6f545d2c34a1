"""Fine-tuning: a new run that starts from the parameters of another.

Most arrays are taken as they are. Those with a row a piece are mapped piece by piece,
since the vocabulary of another corpus has other pieces in another order:

    a piece that the old vocabulary has        its row, bit for bit
    a piece that the old tokenizer can cut     the mean of its parts' rows
    any other                                  its fresh row

Pieces are the same if they stand for the same text, special tokens if they play the
same role, byte tokens if they are the same byte. So a model of characters can start
one of subwords. The source run is only read.
"""

import dataclasses
from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np

from flaxformer_mt.config import Config, ModelConfig
from flaxformer_mt.errors import InputError
from flaxformer_mt.model.transformer import Transformer
from flaxformer_mt.text.tokenizer import Tokenizer
from flaxformer_mt.training.checkpoints import load_params
from flaxformer_mt.training.named_arrays import Arrays, flatten, like
from flaxformer_mt.training.run_folder import RunFolder
from flaxformer_mt.training.storage import Folder

# What the arrays' shapes, or what is done with them, depend on. (Not on max_length:
# positions are sinusoids.)
SIZES = (
    *("d_model", "d_ff", "num_heads"),
    *("num_encoder_layers", "num_decoder_layers", "norm"),
)


class Place(NamedTuple):
    """Where a role has its rows: an array, and the axis along which pieces lie."""

    array: str
    axis: int


SRC, TGT = "source", "target"  # whose pieces
# What the rows of a piece are for, and whose pieces they are.
ROLES = {
    "source embedding": SRC,
    "target embedding": TGT,
    "output weights": TGT,
    "output bias": TGT,
}
# model.tied_embeddings -> the place of each role, in the order of ROLES. One array that
# plays several roles stands there several times.
PLACES = {
    tying: dict(zip(ROLES, places, strict=True))
    for tying, places in {
        "none": (
            Place("src_embed/embedding", 0),
            Place("tgt_embed/embedding", 0),
            Place("decoder/logits/kernel", 1),
            Place("decoder/logits/bias", 0),
        ),
        "target": (
            Place("src_embed/embedding", 0),
            Place("tgt_embed/embedding", 0),
            Place("tgt_embed/embedding", 0),
            Place("decoder/logits_bias", 0),
        ),
        "all": (
            Place("embed/embedding", 0),
            Place("embed/embedding", 0),
            Place("embed/embedding", 0),
            Place("decoder/logits_bias", 0),
        ),
    }.items()
}


class WarmStart(NamedTuple):
    """A start for training."""

    params: dict[str, Any]  # as the fresh ones, of NumPy arrays
    notes: list[str]  # sentences for the person


def warm_start(
    source_run: Folder,
    model: Transformer,
    params: dict[str, Any],
    src_tokenizer: Tokenizer,
    tgt_tokenizer: Tokenizer,
) -> WarmStart:
    """The parameters of another run's best checkpoint, brought to this vocabulary.

    Args:
      source_run: the other run's folder; it is verified, and only read.
      params: the fresh parameters of `model`: what stays of them is where a piece has
        nothing to start from.

    Raises:
      InputError: there is no run, or its model is of other sizes or ties its
        embeddings otherwise.
      StorageError: the run has no undamaged checkpoint.
    """
    source = RunFolder.of(source_run)
    _refuse_other_sizes(model.cfg, model_options_of(source.path), source.path)
    notes: list[str] = []
    loaded = load_params(source.path, note=notes.append)
    notes.append(
        f"starts from step {loaded.step:,} of {source.path}; the optimizer starts anew"
    )
    old_tokenizers = source.tokenizers()
    matches = {
        side: match_pieces(old, new)
        for side, old, new in zip(
            (SRC, TGT), old_tokenizers, (src_tokenizer, tgt_tokenizer), strict=True
        )
    }
    notes += [match.note(side, source.path) for side, match in matches.items()]
    if old_tokenizers[0].normalizer != src_tokenizer.normalizer:
        notes.append(_other_normalizer(SRC, source.path))
    if old_tokenizers[1].normalizer != tgt_tokenizer.normalizer:
        notes.append(_other_normalizer(TGT, source.path))
    old, fresh = flatten(loaded.params), flatten(params)
    carried = _carry_over(old, fresh, matches, str(source.path))
    return WarmStart(like(params, carried), notes)


def _other_normalizer(side: str, run: Any) -> str:
    return (
        f"warning: {run} normalised its {side} text by other rules than this run does"
    )


# ---- sizes -----------------------------------------------------------------------


def model_options_of(source_run: Folder) -> dict[str, Any]:
    """Name -> value of the options that a run started from this one must share.

    Raises:
      InputError: there is no run, or its config cannot be read.
    """
    model = RunFolder.of(source_run).config().model
    return {name: getattr(model, name) for name in SIZES}


def config_for_fine_tuning(
    config: Config, source_run: Folder, default_model: ModelConfig | None = None
) -> Config:
    """The config with the sizes of the run that it starts from.

    Args:
      default_model: what the options are where a person gives none (the plain ones, or
        a preset's): a size that is as here counts as not given.

    Raises:
      InputError: a size was given, and the source run has another; or there is no run.
    """
    default = default_model or ModelConfig()
    theirs, asked = model_options_of(source_run), config.model
    given = [name for name in theirs if getattr(asked, name) != getattr(default, name)]
    _refuse_other_sizes(asked, {name: theirs[name] for name in given}, source_run)
    sizes = {**theirs, "tied_embeddings": _tying_for(config, source_run, default)}
    return config.replace(model=dataclasses.replace(asked, **sizes))


def _tying_for(config: Config, source_run: Folder, default: ModelConfig) -> str:
    """How to tie where it is not said: as the source run does, if it can be."""
    asked = config.model.tied_embeddings
    if asked != default.tied_embeddings:
        return asked
    theirs = RunFolder.of(source_run).config().model.tied_embeddings
    # One table for both sides needs one vocabulary for both. (Given tokenizers mostly
    # are those of the source run; where they are not shared, the session refuses.)
    shares = config.data.shared_vocab or config.data.tokenizers
    return "target" if theirs == "all" and not shares else theirs


def _refuse_other_sizes(
    here: ModelConfig, theirs: dict[str, Any], source_run: Folder
) -> None:
    """Raises InputError that names each size that differs, and what to give."""
    differ = {k: v for k, v in theirs.items() if getattr(here, k) != v}
    if not differ:
        return
    named = ", ".join(
        f"model.{name} is {getattr(here, name)} here and {value} in {source_run}"
        for name, value in differ.items()
    )
    options = " ".join(
        f"--model.{name.replace('_', '-')} {value}" for name, value in differ.items()
    )
    raise InputError(f"{named}: give {options}.")


# ---- pieces ----------------------------------------------------------------------


class PieceMatch(NamedTuple):
    """What each piece of a new vocabulary starts from."""

    old_size: int  # pieces of the old vocabulary
    parts: list[list[int]]  # a new id each: the old ids whose mean it is; []: none
    num_same: int  # pieces that the old vocabulary has itself

    def note(self, side: str, run: Any) -> str:
        """The match in one sentence."""
        num_found = sum(map(bool, self.parts))
        return (
            f"{self.num_same:,} of {len(self.parts):,} {side} pieces have the "
            f"parameters of {run}; {num_found - self.num_same:,} are made of their "
            f"parts; {len(self.parts) - num_found:,} start anew"
        )


def match_pieces(old: Tokenizer, new: Tokenizer) -> PieceMatch:
    """What each piece of `new` is in terms of `old`."""
    same = _by_role(old) | _by_text(old)
    by_new_id = {i: key for key, i in (_by_role(new) | _by_text(new)).items()}
    parts, num_same = [], 0
    for i in range(len(new.vocabulary)):
        key = by_new_id[i]
        if key in same:
            num_same += 1
            parts.append([same[key]])
        else:
            # A special or a byte token has no text that could be cut.
            parts.append(_cut(old, key[1]) if key[0] == "text" else [])
    return PieceMatch(len(old.vocabulary), parts, num_same)


Key = tuple[str, str]  # ("text", " the"), ("special", "EOS"), ("byte", "255")


def _by_role(tokenizer: Tokenizer) -> dict[Key, int]:
    """The ids of special tokens by their role and of byte tokens by their byte,
    however these are spelled."""
    v = tokenizer.vocabulary
    specials = {"PAD": v.pad_id, "BOS": v.bos_id, "EOS": v.eos_id, "UNK": v.unk_id}
    return {
        **{("special", role): i for role, i in specials.items()},
        **{("byte", str(byte)): i for byte, i in enumerate(v.byte_ids or ())},
    }


def _by_text(tokenizer: Tokenizer) -> dict[Key, int]:
    """The ids of all other pieces by the text that they stand for."""
    others = set(range(len(tokenizer.vocabulary))) - {*_by_role(tokenizer).values()}
    unk = tokenizer.vocabulary.unk_id
    # The first piece of a text may lose its space: UNK, one character, goes before.
    return {("text", tokenizer.decode([unk, i])[1:]): i for i in sorted(others)}


# How SentencePiece writes a space. In a text it stands apart, spelled in bytes, and
# what follows it is cut as inside of a word; to characters neither matters.
_APART = "\u2581"


def _cut(old: Tokenizer, text: str) -> list[int]:
    """The ids of the parts that the old tokenizer cuts the text of a piece into; none
    where it would need bytes or UNK, which say nothing of a letter."""
    before = len(old.encode_normalized(_APART))
    # Its normaliser may know the text in another spelling; it trims, and a space at
    # the start is part of a piece.
    respelled = " " * text.startswith(" ") + old.normalizer(text)
    for spelling in (text, respelled):
        ids = old.encode_normalized(_APART + spelling)[before:]
        if spelling.strip() and old.count_fallback(np.array(ids)) == (0, 0):
            return ids
    return []


# ---- arrays ----------------------------------------------------------------------


def _carry_over(
    old: Arrays, fresh: Arrays, matches: dict[str, PieceMatch], run: str
) -> Arrays:
    """The fresh arrays with all that the old ones can give them."""
    theirs, ours = PLACES[tying_of(old, run)], PLACES[tying_of(fresh, "this model")]
    _refuse_untying(theirs, ours, run)
    carried = _shared_arrays(old, fresh, theirs, ours, run)
    for role, (name, axis) in ours.items():
        if name not in carried:  # one array may play several roles
            match, place = matches[ROLES[role]], theirs[role]
            rows = np.moveaxis(old[place.array], place.axis, 0)
            if role in _scaled(theirs) and role not in _scaled(ours):
                rows = rows * np.float32(np.sqrt(rows.shape[1]))
            fresh_rows = np.moveaxis(fresh[name], axis, 0)
            _check_rows(rows, fresh_rows, match, f"{place.array} of {run}")
            carried[name] = np.moveaxis(_map_rows(rows, fresh_rows, match), 0, axis)
    return carried


def _scaled(places: dict[str, Place]) -> set[str]:
    """The embeddings that are the output layer's table too: the model multiplies them
    by sqrt(d_model) where it reads them."""
    output = places["output weights"]
    return {role for role, place in places.items() if place == output} - {
        "output weights"
    }


def tying_of(names: Iterable[str], whose: str) -> str:
    """How a model ties its embeddings, as the names of its parameters show: those are
    there in any run, however old its config.

    Raises:
      InputError: the names are of another model than transformer.py makes.
    """
    names = set(names)
    known = {place.array for places in PLACES.values() for place in places.values()}
    for tying, places in PLACES.items():
        if {place.array for place in places.values()} == known & names:
            return tying
    raise InputError(
        f"the embeddings and the output layer of {whose} are not where this version "
        f"has them (it has {', '.join(sorted(known & names)) or 'none of them'}): use "
        "the version that trained it."
    )


def _refuse_untying(theirs: dict[str, Place], ours: dict[str, Place], run: str) -> None:
    """Raises InputError where one array would have to be several old ones. (The other
    way round is exact: each of several starts as the one that there was.)"""
    for role, place in ours.items():
        sources = {theirs[r].array for r in ours if ours[r] == place}
        if len(sources) > 1:
            was = next(name for name, places in PLACES.items() if places is theirs)
            raise InputError(
                f"model.tied_embeddings asks for one array as {role} and more, which "
                f"{run} has as {' and '.join(sorted(sources))}: give "
                f"--model.tied-embeddings {was}."
            )


def _shared_arrays(
    old: Arrays,
    fresh: Arrays,
    theirs: dict[str, Place],
    ours: dict[str, Place],
    run: str,
) -> Arrays:
    """The arrays that have nothing to do with a vocabulary, as they were."""
    rest_old = {
        k: v for k, v in old.items() if k not in {p.array for p in theirs.values()}
    }
    rest = {k: v for k, v in fresh.items() if k not in {p.array for p in ours.values()}}
    differ = sorted(
        name
        for name in {*rest_old, *rest}
        if name not in rest
        or name not in rest_old
        or rest_old[name].shape != rest[name].shape
    )
    if differ:
        name = differ[0]
        raise InputError(
            f"the model of {run} is another than this one: {len(differ)} parameters "
            f"differ, e.g. {name}, which is {_shape(rest_old, name)} there and "
            f"{_shape(rest, name)} here: use the version and the options that "
            "trained it."
        )
    return {k: v.astype(rest[k].dtype, copy=False) for k, v in rest_old.items()}


def _shape(arrays: Arrays, name: str) -> str:
    return str(list(arrays[name].shape)) if name in arrays else "missing"


def _check_rows(
    rows: np.ndarray, fresh: np.ndarray, match: PieceMatch, name: str
) -> None:
    """Raises InputError unless there is a row for each piece, of the same width."""
    wanted = (match.old_size, *fresh.shape[1:])
    if rows.shape != wanted or len(fresh) != len(match.parts):
        raise InputError(
            f"{name} must have {list(wanted)} numbers, a row for each piece; it has "
            f"{list(rows.shape)}: the tokenizers there are not those of its model."
        )


def _map_rows(old: np.ndarray, fresh: np.ndarray, match: PieceMatch) -> np.ndarray:
    """[pieces, ...]: the fresh rows, where a piece has parts the mean of those."""
    rows = np.array(fresh)
    for i, parts in enumerate(match.parts):
        if parts:  # the mean of one row is that row, bit for bit
            rows[i] = old[parts].mean(axis=0)
    return rows
