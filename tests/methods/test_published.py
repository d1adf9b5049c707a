"""Formulas set against what the methods' authors published, written again from their code.

Each reference is independent of the package: PEFT's own functions, or a few lines that follow
the published code (AkariAsai/ATTEMPT, nik-dim/tall_masks, thuml/ForkMerge, MattWallingford/TAPS).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import nn

from dtvg.methods.attempt import answer_to, attention
from dtvg.methods.base import Inputs, StepBatch, find_method
from dtvg.methods.consensus import consensus_mask, tall_masks
from dtvg.methods.dare import drop_and_rescale
from dtvg.methods.forkmerge import WeightSearch, apply_weights
from dtvg.methods.mpt import product
from dtvg.methods.specs import Attempt, ForkMerge, Taps
from dtvg.methods.ties import elect_and_share, trim
from dtvg.testing.methods import pick, random_examples, random_inputs
from dtvg.training.searching import search_together


def _vectors(count: int = 5, length: int = 4, width: int = 6, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(count, length, width, generator=generator, dtype=torch.float64)


# -- ATTEMPT ---------------------------------------------------------------------------------


class AuthorsAttention(nn.Module):
    """`attn_method == "sub"` of the authors' T5 stack."""

    def __init__(self, width: int, inner: int, temperature: float) -> None:
        super().__init__()
        self.attn_w_down = nn.Linear(width, inner, bias=False)
        self.attn_w_up = nn.Linear(inner, width, bias=False)
        self.attn_non_linear = nn.SiLU()
        self.layer_norm = nn.LayerNorm(width)
        self.temperature = temperature

    def forward(self, inputs: torch.Tensor, sources: torch.Tensor, target: torch.Tensor):
        pooled = torch.max(inputs, 1)[0]
        added = torch.cat([sources, target[None]])[None].repeat(len(inputs), 1, 1, 1)
        keys = torch.max(added, 2)[0]
        x = self.layer_norm(self.attn_w_up(self.attn_non_linear(self.attn_w_down(pooled))))
        scores = keys.bmm(x.unsqueeze(-1)).squeeze(-1) / self.temperature
        normalised = torch.softmax(scores, -1)
        mixed = torch.einsum("bp,bpld->bld", normalised, added)
        return mixed + target[None], normalised


def test_attempt_composes_the_prompt_of_the_authors_code() -> None:
    inputs = pick(random_inputs(1, 4), 0)
    method = find_method(Attempt(projection=3))
    state = method.prepare(inputs)
    width = inputs.init.shape[-1]
    reference = AuthorsAttention(width, 3, method.config.temperature * width).double()
    with torch.no_grad():
        for name, value in state.parameters.items():
            value.add_(0.3 * torch.randn_like(value) if name in ("gain", "shift") else 0)
        reference.attn_w_down.weight.copy_(state.parameters["down"][0, 0].T)
        reference.attn_w_up.weight.copy_(state.parameters["up"][0, 0].T)
        reference.layer_norm.weight.copy_(state.parameters["gain"][0, 0])
        reference.layer_norm.bias.copy_(state.parameters["shift"][0, 0])
    examples = random_examples([0])
    whole = examples.mask.all(1)  # the authors pool over padding too; we leave it out
    assert whole.any()
    made = method.mix(state, examples)
    sources = inputs.init[0] + inputs.source_vectors[0]
    prompt, weights = reference(examples.embeddings, sources, inputs.target_prompt[0])
    assert torch.allclose(made.prompt[whole], prompt[whole], atol=1e-12)
    assert torch.allclose(made.weights[whole], weights[whole, :-1], atol=1e-12)


def test_attempt_s_attention_is_the_authors_on_tensors_alone() -> None:
    sources, target = _vectors(3), _vectors(1, seed=1)[0]
    tokens = _vectors(7, 5, seed=2)
    reference = AuthorsAttention(6, 2, 4.0).double()
    down = reference.attn_w_down.weight.T[None, None]
    up = reference.attn_w_up.weight.T[None, None]
    norm = reference.layer_norm
    answers = answer_to(
        tokens.amax(1)[None], down, up, norm.weight[None, None], norm.bias[None, None]
    )
    keys = torch.cat([sources, target[None]]).amax(-2)[None]
    made = attention(keys, answers, 4.0)[0]
    assert torch.allclose(made, reference(tokens, sources, target)[1], atol=1e-12)


# -- MPT -------------------------------------------------------------------------------------


def test_mpt_s_product_is_peft_s_multitask_prompt() -> None:
    peft = pytest.importorskip("peft")
    from peft.tuners.multitask_prompt_tuning import MultitaskPromptEmbedding

    config = peft.MultitaskPromptTuningConfig(
        task_type="CAUSAL_LM",
        num_virtual_tokens=4,
        num_tasks=3,
        num_ranks=1,
        token_dim=6,
        num_transformer_submodules=1,
        prompt_tuning_init="RANDOM",
    )
    reference = MultitaskPromptEmbedding(config, nn.Embedding(9, 6))
    with torch.no_grad():
        prompts = reference(torch.arange(4)[None].repeat(3, 1), torch.arange(3))
    shared = reference.embedding.weight[None]
    rows = reference.prefix_task_cols[..., 0]
    columns = reference.prefix_task_rows[:, 0]
    assert torch.allclose(product(shared, rows, columns), prompts, atol=1e-7)


# -- TALL masks and consensus ------------------------------------------------------------------


@pytest.mark.parametrize("threshold", [0.2, 0.6, 1.0])
@pytest.mark.parametrize("at_least", [1, 2, 3])
def test_masks_and_consensus_are_those_of_the_authors_code(threshold: float, at_least: int) -> None:
    vectors = _vectors()
    pretrained = _vectors(1, seed=3).flatten()
    tuned = pretrained + vectors.flatten(1)
    merged = pretrained + vectors.flatten(1).sum(0)
    masks = (pretrained - tuned).abs() > (merged - tuned).abs() * threshold
    made = tall_masks(vectors, torch.full((5,), threshold, dtype=torch.float64))
    assert torch.equal(made.flatten(1), masks)
    count = torch.zeros_like(pretrained)
    for mask in masks:
        count = count + mask.float()
    assert torch.equal(consensus_mask(made, at_least).flatten(), count >= at_least)


# -- TIES and DARE -----------------------------------------------------------------------------


@pytest.mark.parametrize("density", [0.25, 0.5, 0.75])
def test_ties_is_peft_s(density: float) -> None:
    merging = pytest.importorskip("peft.utils.merge_utils")
    vectors = _vectors()
    reference = merging.ties(list(vectors), torch.ones(5, dtype=torch.float64), density)
    assert torch.allclose(elect_and_share(trim(vectors, density)).sum(0), reference, atol=1e-12)


@pytest.mark.parametrize("merge", ["dare_linear", "dare_ties"])
def test_dare_is_peft_s_for_the_same_draw(merge: str, monkeypatch: pytest.MonkeyPatch) -> None:
    merging = pytest.importorskip("peft.utils.merge_utils")
    vectors, draw = _vectors(), torch.rand(5, 4, 6, dtype=torch.float64)
    masks = iter((draw >= 0.4).double())
    monkeypatch.setattr(merging.torch, "bernoulli", lambda given: next(masks))
    reference = getattr(merging, merge)(list(vectors), torch.ones(5, dtype=torch.float64), 0.6)
    kept = drop_and_rescale(vectors, draw, 0.4)
    made = kept if merge == "dare_linear" else elect_and_share(kept)  # PEFT does not trim here
    assert torch.allclose(made.sum(0), reference, atol=1e-12)


# -- ForkMerge ---------------------------------------------------------------------------------


def _authors_merge(
    thetas: list[torch.Tensor], score: Callable[[torch.Tensor], float], alphas: tuple[float, ...]
) -> tuple[np.ndarray, torch.Tensor]:
    """The greedy search of the authors' `forkmerge.py`: λ of each branch, and the merged θ."""

    def merged(weights: dict[int, float]) -> torch.Tensor:
        total = sum(weights.values())
        return sum(weights[b] / total * thetas[b] for b in weights)  # type: ignore[return-value]

    alone = [score(theta) for theta in thetas]
    ranked = sorted(range(len(thetas)), key=lambda b: alone[b], reverse=True)
    weights, best = {b: 0.0 for b in ranked}, 0.0
    weights[ranked[0]] = 1.0
    for i, b in enumerate(ranked[1:]):
        best_lambda, upper = 0.0, sum(weights.values()) / (i + 1)
        for alpha in alphas:
            weights[b] = alpha * upper
            found = score(merged(weights))
            if found > best:
                best, best_lambda = found, weights[b]
        weights[b] = best_lambda
    total = sum(weights.values())
    shares = np.array([weights[b] / total for b in range(len(thetas))])
    return shares, merged(weights)


@pytest.mark.parametrize("seed", range(12))
def test_forkmerge_finds_and_merges_what_the_authors_search_does(seed: int) -> None:
    inputs = pick(random_inputs(1, 3), 0)
    method = find_method(ForkMerge())
    state = method.prepare(inputs)
    thetas, wanted = _vectors(4, seed=seed), _vectors(1, seed=seed + 100)[0]
    goal = (thetas * torch.tensor([0.1, 0.5, 0.0, 0.4])[:, None, None]).sum(0) + 0.1 * wanted

    def score(theta: torch.Tensor) -> float:
        return float(1 / (1 + (theta - goal).square().mean()))

    grid = (0.2, 0.4, 0.6, 0.8, 1.0)
    shares, merged = _authors_merge(list(thetas), score, (0.0, *grid))
    search = WeightSearch(4, grid)

    def scores(asked: list) -> list[list[float]]:
        return [[score(torch.einsum("b,brd->rd", torch.as_tensor(w), thetas)) for w in asked[0]]]

    search_together([search], scores)
    assert np.allclose(search.weights, shares, atol=1e-12)
    with torch.no_grad():
        state.parameters["prompt"][0].copy_(thetas)
    apply_weights(state, (), 0, search.weights, 1)
    for branch in method.branches(state)[0]:
        assert torch.allclose(branch, merged, atol=1e-12)
    assert torch.allclose(method.forward(state).prompt[0], merged, atol=1e-12)


@pytest.mark.parametrize("weights", [(0.0, 1.0, 0.0), (0.5, 0.25, 0.25)])
def test_after_a_merge_no_branch_is_away_from_the_merged_prompt(weights: tuple) -> None:
    """Source 1 is the whole answer; its branch has found it, the target starts at P_init."""
    torch.manual_seed(0)
    init, vectors = torch.randn(1, 4, 6).double(), torch.randn(1, 2, 4, 6).double()
    inputs = Inputs(init, init, vectors, source_names=(("one", "two"),), seeds=(0,))
    method = find_method(ForkMerge())
    state = method.prepare(inputs)

    def losses(prompts: torch.Tensor) -> torch.Tensor:
        return (prompts - (init[0] + vectors[0, 0])).square().flatten(1).mean(1)

    with torch.no_grad():
        state.parameters["prompt"][0, 1:].add_(vectors[0])
    before = losses(method.branches(state)[0]).detach()
    assert float(before[1]) == pytest.approx(0, abs=1e-12) and before[0] > 0.1 < before[2]
    mixed = sum(w * b for w, b in zip(weights, method.branches(state)[0].detach(), strict=True))
    apply_weights(state, (), 0, np.array(weights), 1)
    run = method.forward(state).prompt[0].detach()
    assert torch.allclose(run, mixed, atol=1e-12)
    apart = (method.branches(state)[0].detach() - run).flatten(1).norm(dim=1)
    assert apart.tolist() == pytest.approx([0, 0, 0], abs=1e-12)
    after = losses(method.forward(state, StepBatch((2,), (9,), (0,))).prompt[0])
    assert torch.allclose(after, losses(run[None]).expand(3))


# -- TAPS --------------------------------------------------------------------------------------


class _Binarise(torch.autograd.Function):
    """`BinarizeIndictator` of the authors' `taps_net.py`."""

    @staticmethod
    def forward(ctx, indicator):  # type: ignore[no-untyped-def]
        return (indicator >= 0.1).double()

    @staticmethod
    def backward(ctx, gradient):  # type: ignore[no-untyped-def]
        return gradient


def test_taps_starts_and_moves_as_the_authors_layers() -> None:
    """`w = weight + I(s) · residual` per token, the residual from 0 and the gate open."""
    inputs = pick(random_inputs(1, 3), 0)
    method = find_method(Taps())
    state = method.prepare(inputs)
    weight = inputs.init[0] + inputs.source_vectors[0].mean(0)
    residual = torch.zeros_like(weight, requires_grad=True)
    scores = torch.full((len(weight),), 0.2, dtype=torch.float64, requires_grad=True)
    goal = _vectors(1, seed=7)[0]
    for step in range(6):
        theirs = weight + _Binarise.apply(scores)[:, None] * residual
        ours = method.forward(state).prompt[0]
        assert torch.allclose(ours, theirs, atol=1e-12), step
        leaves = [residual, scores, state.parameters["prompt"], state.parameters["scores"]]
        lost = 0.05 * scores.abs().mean() + (theirs - goal).square().sum()
        mine = method.penalty(state, method.forward(state)).sum() + (ours - goal).square().sum()
        given = [*torch.autograd.grad(lost, leaves[:2]), *torch.autograd.grad(mine, leaves[2:])]
        with torch.no_grad():
            for leaf, slope in zip(leaves, given, strict=True):
                leaf.sub_(0.05 * slope)
    assert (scores < 0.1).any() or (scores >= 0.1).all()
