"""The torch baseline and our model are the same function of the same weights.

Everything is compared in float32 on the CPU. The batch is ragged, has padding on both
sides and ends in an empty row, whose results nobody reads: there, finite is enough.
"""

import ast
import copy
import dataclasses
import inspect
from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from flaxformer_mt.config import TrainConfig
from flaxformer_mt.decoding.frames import Frame, Source
from flaxformer_mt.decoding.sampling import SampleOptions, Sampler
from flaxformer_mt.decoding.search import TokenIds, decode
from flaxformer_mt.model.dropout import Dropout
from flaxformer_mt.model.masks import make_masks
from flaxformer_mt.model.transformer import Transformer, init_params, make_model
from flaxformer_mt.text.batching import Batch, Shape, make_batch
from flaxformer_mt.training.loss import cross_entropy
from flaxformer_mt.training.optimizer import make_optimizer
from tests.conftest import BOS, EOS, PAD, PAIRS, SPECIALS, UNK, V, leaves, tiny_config

torch = pytest.importorskip(
    "torch", reason="the torch baseline needs torch, which the package does not"
)

from experiments import torch_baseline  # noqa: E402

REAL = slice(len(PAIRS))  # the rows that hold a pair

# Compiling is nearly all of the time here, and shorter with little optimisation.
quick_jit = partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})

# ---- the two models, at equal weights ------------------------------------------------


@pytest.fixture(scope="module", params=["pre", "post"])
def model(request: pytest.FixtureRequest) -> Transformer:
    """Smaller than the tiny model of the other tests, since it compiles with a
    gradient; one stack of two layers, for their numbers."""
    cfg = tiny_config(
        norm=request.param, num_decoder_layers=1, feed_forward_dropout_rate=0.2
    )
    return make_model(cfg, src_vocab_size=V, tgt_vocab_size=V + 1)


@pytest.fixture(scope="module")
def weights(model: Transformer) -> dict:
    """The flax parameter tree that both models get."""
    return noise_for(model)


def noise_for(model: Transformer) -> dict:
    """A flax parameter tree.

    Noise on every array: fresh biases and scales are 0 and 1, and a 0 in the wrong
    place goes unseen.
    """
    rng = np.random.default_rng(0)

    def noise(path: tuple, shape: jax.ShapeDtypeStruct) -> np.ndarray:
        center = 1.0 if path[-1].key == "scale" else 0.0
        return rng.normal(center, 0.3, shape.shape).astype(np.float32)

    shapes = jax.eval_shape(partial(init_params, model), jax.random.key(0))
    return jax.tree.map_with_path(noise, shapes)


@pytest.fixture
def twin(model: Transformer, weights: dict) -> torch.nn.Module:
    """The torch model with those weights, without dropout."""
    return twin_of(model, weights)


def twin_of(model: Transformer, weights: dict) -> torch.nn.Module:
    twin = torch_baseline.TorchTransformer(model.cfg).eval()
    twin.load_state_dict(torch_baseline.to_torch(weights, twin))
    return twin


def ragged_batch(rows: int = len(PAIRS) + 1) -> Batch:
    """Two pairs of different lengths, and a row that is padding throughout; sources
    as wide as the model allows, and targets of another width."""
    return make_batch(PAIRS, Shape(rows, 16, 12), SPECIALS)


def test_the_batch_has_what_it_is_to_test():
    batch = ragged_batch()
    for mask in (batch.src_mask, batch.tgt_mask):
        lengths = mask.sum(axis=1)
        assert 0 < lengths[0] != lengths[1] > 0 == lengths[2]
        assert lengths.max() < mask.shape[1]


@partial(quick_jit, static_argnums=0)
def ours(
    model: Transformer, weights: dict, batch: Batch
) -> tuple[jax.Array, jax.Array, dict]:
    """Mean loss, logits and the loss's gradients. Together: one compilation."""

    def loss_fn(weights: dict) -> tuple[jax.Array, jax.Array]:
        logits = our_logits(model, weights, batch)
        totals = cross_entropy(logits, batch.label_ids, batch.tgt_mask)
        return totals.mean_loss(), logits

    (loss, logits), gradients = jax.value_and_grad(loss_fn, has_aux=True)(weights)
    return loss, logits, gradients


def our_logits(model: Transformer, weights: dict, batch: Batch) -> jax.Array:
    masks = make_masks(batch.src_mask, batch.tgt_mask)
    return model.apply({"params": weights}, batch.src_ids, batch.tgt_in_ids, masks)


def theirs(twin: torch.nn.Module, batch: Batch) -> tuple[float, np.ndarray, dict]:
    """The same three, from torch; the gradients stay in `.grad` for an optimizer."""
    b = Batch(*(torch.tensor(array) for array in batch))
    logits = twin(b.src_ids, b.tgt_in_ids, b.src_mask, b.tgt_mask)
    nats, num_tokens = torch_baseline.cross_entropy(logits, b.label_ids, b.tgt_mask)
    loss = nats / num_tokens
    twin.zero_grad()
    loss.backward()
    # Each gradient takes its parameter's place in a copy, and goes the parameter's way.
    holder = copy.deepcopy(twin)
    for name, parameter in twin.named_parameters():
        holder.get_parameter(name).data = parameter.grad.clone()
    return loss.item(), logits.detach().numpy(), torch_baseline.to_flax(holder)


def assert_trees_close(actual: dict, expected: dict, *, atol: float) -> None:
    assert jax.tree.structure(actual) == jax.tree.structure(expected)

    def close(path: tuple, a: np.ndarray, b: np.ndarray) -> None:
        name = jax.tree_util.keystr(path)
        np.testing.assert_allclose(a, b, rtol=0, atol=atol, err_msg=name)

    jax.tree.map_with_path(close, actual, expected)


# ---- forward -------------------------------------------------------------------------


def test_logits_are_equal_at_equal_weights(model, weights, twin):
    _, logits, _ = ours(model, weights, ragged_batch())
    _, their_logits, _ = theirs(twin, ragged_batch())
    assert their_logits.dtype == np.float32
    # Whole rows, padded positions included: those attend to the real ones.
    np.testing.assert_allclose(their_logits[REAL], logits[REAL], rtol=0, atol=1e-4)


def test_dropout_acts_at_the_same_places(model, weights, twin, monkeypatch):
    """Both draw bits of their own, so that a visible function stands in for dropout: it
    moves the logits wherever it is, and by as much only at the same places."""

    def stand_in(x):
        return x.clip(-0.5, 0.7)

    def intercept(next_fun, args, kwargs, context):
        if isinstance(context.module, Dropout) and context.module.rate:
            return stand_in(args[0])
        return next_fun(*args, **kwargs)

    monkeypatch.setattr(torch.nn.Dropout, "forward", lambda self, x: stand_in(x))
    with nn.intercept_methods(intercept):
        logits = quick_jit(partial(our_logits, model))(weights, ragged_batch())
    _, their_logits, _ = theirs(twin, ragged_batch())
    np.testing.assert_allclose(their_logits[REAL], logits[REAL], rtol=0, atol=1e-4)
    _, plain, _ = ours(model, weights, ragged_batch())
    assert np.abs(logits - plain)[REAL].max() > 0.1


def test_dropout_has_the_rate_of_the_config(model, twin):
    rates = {m.p for m in twin.modules() if isinstance(m, torch.nn.Dropout)}
    c = model.cfg
    assert rates == {c.dropout_rate, c.feed_forward_dropout_rate} == {0.1, 0.2}


def test_attention_weights_are_dropped_in_training_alone(model, monkeypatch):
    cfg = dataclasses.replace(model.cfg, attention_dropout_rate=0.3)
    twin, rates = torch_baseline.TorchTransformer(cfg), []
    attention = torch.nn.functional.scaled_dot_product_attention

    def seen(*arrays, dropout_p, **more):
        rates.append(dropout_p)
        return attention(*arrays, dropout_p=dropout_p, **more)

    monkeypatch.setattr(torch_baseline.F, "scaled_dot_product_attention", seen)
    theirs(twin.train(), ragged_batch())
    theirs(twin.eval(), ragged_batch())
    num = len(rates) // 2
    assert rates == [0.3] * num + [0.0] * num and num == 4


def test_an_empty_row_stays_finite_and_reaches_no_gradient(twin):
    loss, logits, gradients = theirs(twin, ragged_batch())
    assert np.isfinite(logits).all()
    loss_without, _, gradients_without = theirs(twin, ragged_batch(rows=len(PAIRS)))
    assert abs(loss - loss_without) < 1e-6
    assert_trees_close(gradients, gradients_without, atol=1e-6)


def test_no_query_is_left_without_keys(twin, monkeypatch):
    """What torch would answer depends on its version and on the kernel that it takes
    (see `never_empty`), so a finite answer here proves little: look at the question."""
    masks = []
    attention = torch.nn.functional.scaled_dot_product_attention

    def watched(q, k, v, *, attn_mask, dropout_p):
        masks.append(attn_mask)
        return attention(q, k, v, attn_mask=attn_mask, dropout_p=dropout_p)

    monkeypatch.setattr(torch.nn.functional, "scaled_dot_product_attention", watched)
    theirs(twin, ragged_batch())
    assert len(masks) == 2 + 2  # two encoder layers; both attentions of the decoder's
    for mask in masks:
        assert mask.dtype == torch.bool
        assert mask.any(dim=-1).all()


# ---- loss, gradients, updates --------------------------------------------------------


@pytest.mark.parametrize("label_smoothing", [0.0, 0.1])
def test_loss_is_equal(label_smoothing):
    batch = ragged_batch()
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 3, (*batch.label_ids.shape, V)).astype(np.float32)
    arrays = (logits, batch.label_ids, batch.tgt_mask)
    totals = cross_entropy(*map(jnp.asarray, arrays), label_smoothing=label_smoothing)
    nats, num_tokens = torch_baseline.cross_entropy(
        *map(torch.tensor, arrays), label_smoothing=label_smoothing
    )
    np.testing.assert_allclose(nats, totals.nats, rtol=1e-6)
    assert float(num_tokens) == float(totals.num_tokens) == batch.tgt_mask.sum()
    assert nats.dtype == num_tokens.dtype == torch.float32


def test_gradients_of_the_loss_are_equal(model, weights, twin):
    loss, _, gradients = ours(model, weights, ragged_batch())
    their_loss, _, their_gradients = theirs(twin, ragged_batch())
    assert abs(their_loss - float(loss)) < 1e-5
    assert_trees_close(their_gradients, gradients, atol=1e-4)
    largest = max(np.abs(leaf).max() for leaf in leaves(gradients))
    assert largest > 0.1, "gradients near 0 would be equal in any case"


TRAIN = TrainConfig(learning_rate=1e-3, schedule="constant", warmup_steps=0, steps=5)
TX = make_optimizer(TRAIN, num_steps=TRAIN.steps)


@quick_jit
def our_update(
    weights: jax.Array, gradients: jax.Array, state: optax.OptState
) -> tuple[jax.Array, optax.OptState]:
    """All weights in one vector: Adam knows no shapes, and one compiles in no time."""
    updates, state = TX.update(gradients, state, weights)
    return optax.apply_updates(weights, updates), state


def ravel(tree: dict) -> np.ndarray:
    return np.concatenate([leaf.ravel() for leaf in leaves(tree)])


def unravel(vector: np.ndarray, like: dict) -> dict:
    shapes = [leaf.shape for leaf in leaves(like)]
    parts = np.split(vector, np.cumsum([np.prod(shape) for shape in shapes])[:-1])
    arrays = [part.reshape(shape) for part, shape in zip(parts, shapes, strict=True)]
    return jax.tree.unflatten(jax.tree.structure(like), arrays)


def their_adam(twin: torch.nn.Module) -> torch.optim.Optimizer:
    """torch's Adam with our settings, in its fast form."""
    betas = (TRAIN.adam_b1, TRAIN.adam_b2)
    return torch.optim.Adam(
        twin.parameters(), lr=TRAIN.learning_rate, betas=betas, eps=1e-9, fused=True
    )


def test_adam_updates_are_equal():
    """Given the same gradients, of every size, so that epsilon shows. Two updates, for
    the betas: the first alone is one learning rate long whatever they are. In learning
    rates, from weights of 0: 1e-4 beside 1e-3 would be a lenient comparison."""
    rng = np.random.default_rng(0)
    twin = torch.nn.ParameterDict({"x": torch.zeros(1000)})
    weights = np.zeros(1000, np.float32)
    optimizer, state = their_adam(twin), TX.init(weights)
    for _ in range(2):
        sizes = 10.0 ** rng.uniform(-10, 0, 1000)
        gradient = (rng.normal(size=1000) * sizes).astype(np.float32)
        weights, state = our_update(weights, gradient, state)
        twin["x"].grad = torch.tensor(gradient)
        optimizer.step()
        in_rates = np.asarray(weights) / TRAIN.learning_rate
        their_in_rates = twin["x"].detach().numpy() / TRAIN.learning_rate
        np.testing.assert_allclose(their_in_rates, in_rates, rtol=0, atol=1e-4)


def test_training_gives_equal_losses(model, weights, twin):
    """Each by its own gradients. The weights are not compared: Adam divides a gradient
    by its size, so where one is rounding error alone (as for the bias of the keys,
    which softmax ignores) a weight moves by a learning rate in a chance direction."""
    vector = ravel(weights)
    optimizer, state = their_adam(twin), TX.init(vector)
    losses, their_losses = [], []
    for _ in range(TRAIN.steps):
        tree = unravel(np.asarray(vector), like=weights)
        loss, _, gradients = ours(model, tree, ragged_batch())
        vector, state = our_update(vector, ravel(gradients), state)
        losses.append(float(loss))
        their_losses.append(theirs(twin, ragged_batch())[0])
        optimizer.step()
    np.testing.assert_allclose(their_losses, losses, rtol=0, atol=1e-4)
    assert losses[-1] < losses[0] - 0.05, "losses that stand still are equal anyway"


# ---- weights, both ways --------------------------------------------------------------


def test_parameters_survive_the_way_to_torch_and_back_bit_for_bit(weights, twin):
    back = torch_baseline.to_flax(twin)
    assert jax.tree.structure(back) == jax.tree.structure(weights)
    for a, b in zip(leaves(back), leaves(weights), strict=True):
        assert a.dtype == b.dtype == np.float32
        np.testing.assert_array_equal(a, b)


def test_parameters_survive_the_way_to_flax_and_back_bit_for_bit(model):
    twin = torch_baseline.TorchTransformer(model.cfg)
    state = torch_baseline.to_torch(torch_baseline.to_flax(twin), twin)
    assert state.keys() == twin.state_dict().keys()
    for name, tensor in twin.state_dict().items():
        assert torch.equal(state[name], tensor), name
        # Else torch's fused Adam goes wrong, without a word (see `to_torch`).
        assert state[name].is_contiguous(), name


def test_the_arrays_of_to_flax_are_copies(twin):
    tree = torch_baseline.to_flax(twin)
    before = [leaf.copy() for leaf in leaves(tree)]
    with torch.no_grad():
        for parameter in twin.parameters():
            parameter.zero_()
    assert all((a == b).all() for a, b in zip(leaves(tree), before, strict=True))


def test_an_array_that_does_not_fit_is_refused_by_name(weights, twin):
    def changed(name: str, value: object) -> dict:
        tree = jax.tree.map(lambda x: x, weights)  # dicts of its own
        tree["decoder"]["layers_0"]["cross_attn"]["query"][name] = value
        return tree

    query = "decoder/layers_0/cross_attn/query"
    with pytest.raises(ValueError, match=f"{query}/extra is left over"):
        torch_baseline.to_torch(changed("extra", np.zeros(3, np.float32)), twin)
    with pytest.raises(
        ValueError, match=rf"{query}/bias is float32\[3\] where .* float32\[16\]"
    ):
        torch_baseline.to_torch(changed("bias", np.zeros(3, np.float32)), twin)
    with pytest.raises(ValueError, match=f"{query}/bias is float64"):
        torch_baseline.to_torch(changed("bias", np.zeros(16)), twin)
    without = changed("bias", None)
    del without["decoder"]["layers_0"]["cross_attn"]["query"]["bias"]
    with pytest.raises(ValueError, match=f"{query}/bias is missing"):
        torch_baseline.to_torch(without, twin)


def test_fresh_parameters_have_the_distributions_of_ours(model):
    torch.manual_seed(0)
    wide = dataclasses.replace(model.cfg, d_model=64, d_ff=64)
    fresh = torch_baseline.to_flax(torch_baseline.TorchTransformer(wide))
    key, x = jax.random.key(0), np.zeros((1, 64), np.float32)
    ours = nn.Dense(64).init(key, x)["params"]["kernel"]  # as every layer of our model
    theirs = fresh["encoder"]["layers_0"]["feed_forward"]["wide"]
    np.testing.assert_allclose(theirs["kernel"].std(), ours.std(), rtol=0.05)
    np.testing.assert_allclose(np.abs(theirs["kernel"]).max(), ours.max(), rtol=0.05)
    assert (theirs["bias"] == 0).all()
    np.testing.assert_allclose(fresh["src_embed"]["embedding"].std(), 1, rtol=0.1)


@pytest.mark.parametrize("tied", ["target", "all"])
def test_shared_embeddings_are_the_same_function(tied):
    cfg = tiny_config(num_decoder_layers=1, num_encoder_layers=1, tied_embeddings=tied)
    model = make_model(cfg, src_vocab_size=V, tgt_vocab_size=V)
    weights = noise_for(model)
    twin = twin_of(model, weights)
    loss, logits, gradients = ours(model, weights, ragged_batch())
    their_loss, their_logits, their_gradients = theirs(twin, ragged_batch())
    np.testing.assert_allclose(their_logits[REAL], logits[REAL], rtol=0, atol=1e-4)
    assert their_loss == pytest.approx(float(loss), abs=1e-4)
    assert_trees_close(their_gradients, gradients, atol=1e-4)
    assert_trees_close(torch_baseline.to_flax(twin), weights, atol=0)
    fresh = torch_baseline.to_flax(torch_baseline.TorchTransformer(model.cfg))
    table = fresh["embed" if tied == "all" else "tgt_embed"]["embedding"]
    assert table.std() == pytest.approx(cfg.d_model**-0.5, rel=0.15)


# ---- decoding with a cache -----------------------------------------------------------


def test_the_twin_with_its_cache_gives_the_greedy_translations_of_ours(
    model, weights, twin
):
    limit = model.cfg.max_length - 1
    expected = greedy(model, weights, limit, penalty=1.0)
    src_ids, src_mask = (torch.tensor(x) for x in ragged_batch(len(PAIRS))[:2])
    specials = torch_baseline.Specials(pad=PAD, bos=BOS, eos=EOS, unk=UNK)
    found = twin.translate(src_ids, src_mask, specials, length=limit).tolist()
    assert [[i for i in row if i != PAD] for row in found] == expected
    longer = twin.translate(
        *(src_ids, src_mask, specials), length=limit, min_length=limit
    )
    assert not (longer == EOS).any() and not (longer == PAD).any()


def greedy(model, weights, limit: int, penalty: float) -> list[list[int]]:
    """Our greedy translations of the pairs' sources."""
    frame = Frame(rows=len(PAIRS), length=model.cfg.max_length)
    opts = SampleOptions(temperature=0.0, repetition_penalty=penalty)
    outputs = decode(
        *(weights, [Source([*src_ids, EOS]) for src_ids, _ in PAIRS]),
        search=Sampler(model, opts, TokenIds(bos=BOS, eos=EOS, pad=PAD, unk=UNK)),
        frame=frame,
        frames=[frame],
        limit=limit,
    )
    return [output.token_ids for (output,) in outputs]


# ---- the tutorial's way of working ---------------------------------------------------


@pytest.fixture
def tutorial(model: Transformer, twin: torch.nn.Module) -> torch.nn.Module:
    """The model that works as the tutorial does, with the same weights."""
    tutorial = torch_baseline.TutorialTransformer(model.cfg).eval()
    fused = torch_baseline.fuse_projections(twin.state_dict())
    tutorial.load_state_dict(fused)
    return tutorial


def test_the_tutorials_way_has_the_logits_of_the_twin(model, tutorial, twin):
    width = model.cfg.max_length
    batch = make_batch(PAIRS, Shape(len(PAIRS) + 1, width, width), SPECIALS)
    b = Batch(*(torch.tensor(array) for array in batch))
    inputs = (b.src_ids, b.tgt_in_ids, b.src_mask, b.tgt_mask)
    with torch.no_grad():
        logits, expected = tutorial(*inputs), twin(*inputs)
    assert torch.isfinite(logits).all()
    np.testing.assert_allclose(logits[REAL], expected[REAL], rtol=0, atol=1e-5)


@pytest.mark.parametrize("penalty", [1.0, 1.2])
def test_the_tutorials_way_gives_the_greedy_translations_of_ours(
    model, weights, tutorial, penalty
):
    """Ours with a cache, theirs with the whole prefix again for every token."""
    limit = model.cfg.max_length - 1
    ours = greedy(model, weights, limit, penalty)
    specials = torch_baseline.Specials(pad=PAD, bos=BOS, eos=EOS, unk=UNK)
    for expected, (src_ids, _) in zip(ours, PAIRS, strict=True):
        theirs = torch_baseline.sample_without_cache(
            *(tutorial, [*src_ids, EOS], specials),
            length=limit,
            temperature=0.0,
            repetition_penalty=penalty,
        )
        assert theirs == expected


class Constant:
    """A model whose logits are the same at every position."""

    max_length = 4

    def __init__(self, logits: list[float]) -> None:
        self.logits = torch.tensor(logits).repeat(1, self.max_length, 1)

    def __call__(self, *inputs: torch.Tensor) -> torch.Tensor:
        return self.logits.clone()


@pytest.mark.parametrize(("logit", "penalized"), [(1.2, 1.0), (-1.0, -1.2)])
def test_the_tutorials_way_draws_by_the_chances(monkeypatch, logit, penalized):
    """Its second token, after a 4: that token is used, and has the given logit."""
    constant = Constant([9.0, 9.0, 0.0, 9.0, 20.0, -1.0])  # PAD BOS EOS UNK 4 5
    constant.logits[0, 1:, 4] = logit
    specials = torch_baseline.Specials(pad=PAD, bos=BOS, eos=EOS, unk=UNK)
    seen = []

    def likeliest(chances, count, *, generator):
        seen.append(chances.tolist())
        return chances.topk(count).indices

    monkeypatch.setattr(torch, "multinomial", likeliest)
    torch_baseline.sample_without_cache(
        *(constant, [4, EOS], specials), length=2, temperature=0.5
    )
    chances = np.exp(np.array([0.0, penalized, -1.0]) / 0.5)  # EOS 4 5
    chances /= chances.sum()
    np.testing.assert_allclose(seen[1], [0, 0, chances[0], 0, *chances[1:]], atol=1e-6)


def test_the_tutorials_way_does_not_end_before_the_least_length():
    constant = Constant([0.0, 0.0, 9.0, 0.0, 1.0, -1.0])
    specials = torch_baseline.Specials(pad=PAD, bos=BOS, eos=EOS, unk=UNK)
    tokens = torch_baseline.sample_without_cache(
        *(constant, [EOS], specials), length=3, min_length=2, temperature=0.0
    )
    assert tokens == [4, 4, EOS]


def test_the_baseline_imports_no_jax():
    """So that a benchmark can give each framework a process of its own."""
    imported = set()
    for node in ast.walk(ast.parse(inspect.getsource(torch_baseline))):
        if isinstance(node, ast.Import):
            imported |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            imported.add(node.module)
    ours = {name for name in imported if name.startswith("flaxformer_mt")}
    assert ours == {"flaxformer_mt.config"}, "all else may import JAX"
    assert not {name.split(".")[0] for name in imported} & {"jax", "flax", "optax"}
