"""Every transfer method passes the contract, and each one's formula is computed directly."""

from __future__ import annotations

import pytest
import torch

from dtvg.errors import ConfigError
from dtvg.methods.base import Inputs, find_method
from dtvg.methods.specs import (
    METHODS,
    AllForOne,
    Dtvg,
    MethodConfig,
    Mpt,
    MptSources,
    Oracle,
    PromptTuning,
    Single,
    Ties,
    TpvSum,
)
from dtvg.rule.rules import RULE_NAMES
from dtvg.testing.methods import MethodContract, pick, random_inputs

CONFIGS: list[MethodConfig] = [
    *(spec() for name, spec in METHODS.items() if name not in ("single", "dtvg")),
    PromptTuning(),
    MptSources(),
    Mpt(distil="prompts"),
    *(Dtvg(rule=rule) for rule in RULE_NAMES),
    Dtvg(measure="cosine", threshold=0.1),
    Dtvg(scale_activation="sigmoid"),
    Dtvg(scale_activation="relu"),
    Dtvg(regroup_every=3),
    Dtvg(hysteresis=0.1),
    Dtvg(regroup_every=3, schedule="random"),
    Dtvg(shuffled=True),
    Dtvg(init_only=True),
    Dtvg(nonnegative_scale=True),
    Ties(scale="source"),
    TpvSum(combine="sum"),
    Oracle(subset=("source0", "source2")),
]


@pytest.fixture(params=CONFIGS, ids=lambda c: c.label, scope="class")
def chosen(request: pytest.FixtureRequest) -> MethodConfig:
    request.cls.config = request.param
    return request.param


@pytest.mark.usefixtures("chosen")
class TestEveryMethod(MethodContract):
    pass


class TestSingle(MethodContract):
    config = Single(source="source0")
    sources = 1


def test_every_method_of_the_table_is_in_the_contract_matrix() -> None:
    assert {c.name for c in CONFIGS} | {"single"} == set(METHODS) | {"prompt_tuning", "mpt_sources"}


def _direct(inputs: Inputs, members: list[int], own: float = 1.0) -> torch.Tensor:
    vector = inputs.target_prompt[0] - inputs.init[0]
    prompt = inputs.init[0] + own * vector
    for i in members:
        prompt = prompt + inputs.source_vectors[0, i]
    return prompt


@pytest.mark.parametrize(
    ("config", "members"),
    [
        (METHODS["target_only"](), []),
        (METHODS["all_sources"](), [0, 1, 2, 3]),
        (Dtvg(rule="empty"), []),
        (Dtvg(rule="all_sources"), [0, 1, 2, 3]),
    ],
    ids=lambda value: getattr(value, "label", ""),
)
def test_fixed_compositions_equal_their_formula(config: MethodConfig, members: list[int]) -> None:
    inputs = pick(random_inputs(2, 4), 0)
    method = find_method(config)
    step = method.forward(method.prepare(inputs))
    assert torch.allclose(step.prompt[0], _direct(inputs, members), atol=1e-12)


def test_dtvg_equals_the_paper_computed_by_hand() -> None:
    inputs = pick(random_inputs(2, 4), 1)
    vectors = inputs.source_vectors[0].mean(1)
    target = (inputs.target_prompt - inputs.init)[0].mean(0)
    similarity = (vectors @ target / 6).float().tolist()
    ranked = sorted(range(4), key=lambda i: -similarity[i])
    candidates = [i for i in ranked if similarity[i] >= 0]
    best, group = float("-inf"), []
    for k in range(1, len(candidates) + 1):
        pairs = [
            float(vectors[i] @ vectors[j] / 6)
            for i in candidates[:k]
            for j in candidates[:k]
            if i != j
        ]
        value = sum(pairs) / len(pairs) if pairs else 0.0
        if value > best:
            best, group = value, candidates[:k]
    method = find_method(Dtvg())
    step = method.forward(method.prepare(inputs))
    assert step.weights is not None and step.contribution_norm is not None
    assert [i for i in range(4) if step.weights[0, i] > 0] == sorted(group)
    assert torch.allclose(step.prompt[0], _direct(inputs, group), atol=1e-12)
    norms = inputs.source_vectors[0].flatten(1).norm(dim=-1)
    expected = torch.where(step.weights[0] > 0, norms, 0.0)
    assert torch.allclose(step.contribution_norm[0], expected)


def test_non_members_scales_get_a_zero_gradient_and_members_do_not() -> None:
    inputs = random_inputs(3, 4)
    method = find_method(Dtvg())
    state = method.prepare(inputs)
    step = method.forward(state)
    scale = state.parameters["scale_sources"]
    weights = torch.randn(step.prompt.shape, dtype=torch.float64)
    gradient = torch.autograd.grad((step.prompt * weights).sum(), scale)[0]
    assert step.weights is not None
    member = step.weights > 0
    assert bool(member.any()) and not bool(member.all())
    assert float(gradient[~member].abs().max()) == 0.0
    assert float(gradient[member].abs().min()) > 0.0


def test_the_fixed_rule_keeps_its_first_group_whatever_happens_later() -> None:
    inputs = random_inputs(2, 4)
    method = find_method(Dtvg(rule="fixed"))
    state = method.prepare(inputs)
    first = method.forward(state)
    state.memory.update(first.memory)
    with torch.no_grad():
        state.parameters["prompt"].copy_(2 * state.frozen["init"] - state.parameters["prompt"])
    later = method.forward(state)
    free = find_method(Dtvg()).forward(state)
    assert first.weights is not None and later.weights is not None and free.weights is not None
    assert torch.equal(first.weights, later.weights)
    assert not torch.equal(free.weights, later.weights)


def test_spot_starts_from_the_source_prompt_of_highest_cosine_and_says_which() -> None:
    inputs = random_inputs(3, 4)
    state = find_method(METHODS["spot"]()).prepare(inputs)
    prompts = inputs.init[:, None] + inputs.source_vectors
    for run in range(3):
        cosines = [
            float(
                torch.nn.functional.cosine_similarity(
                    prompts[run, i].mean(0), inputs.target_prompt[run].mean(0), dim=0
                )
            )
            for i in range(4)
        ]
        best = max(range(4), key=lambda i: cosines[i])
        assert torch.allclose(state.parameters["prompt"][run], prompts[run, best])
        assert state.notes[run]["chosen_source"] == f"source{best}"


def test_all_for_one_without_its_mixture_is_refused() -> None:
    inputs = random_inputs(1, 2)
    bare = Inputs(inputs.init, inputs.target_prompt, inputs.source_vectors)
    with pytest.raises(ConfigError, match="mixture"):
        find_method(AllForOne()).prepare(bare)
