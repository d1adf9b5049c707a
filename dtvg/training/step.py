"""One optimiser step of a whole cohort: compose, forward and backward in pieces, update.

Every run's mixed prompt is composed once; examples of all runs share micro-batches cut by a
token budget; the prompts' gradients go back through composition once. Nothing here waits for
the device. docs/architecture.md.
"""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from dtvg.backbones.base import Backbone, Encoded, TokenBatch
from dtvg.backbones.graphs import Passes
from dtvg.methods.base import ADAM_SINCE, InstanceWise, PromptStep, StepBatch
from dtvg.training.batches import Cutting, batch_rows
from dtvg.training.devices import send
from dtvg.training.distil import Lessons, lessons_of, taught_loss
from dtvg.training.instance import averaged, compose
from dtvg.training.optim import AdamState, Rates, adamw, clip_factor, put, rate_factor
from dtvg.training.state import RunSlot, Stack

PADDED = Cutting()
"""Each example in a row of its own, micro-batches filled to the budget."""
FEW_TOKENS = 32
"""Target tokens of a step with which float16 gives a gradient as exactly as it can."""
Part = tuple[np.ndarray, list[Encoded]]
"""Training rows of a run's step, and the examples."""


@dataclass(frozen=True)
class Lot:
    """Examples whose mean loss is one term of a run's step, or of one of its branches'."""

    examples: list[Encoded]
    branch: int = 0
    """Of the run; the prompt that the examples get."""
    own: bool = True
    """Whether they are the target's: a source's count in no logged loss."""


@dataclass(frozen=True)
class Update:
    """What a stack becomes by a step, all of it computed: to take it over allocates nothing."""

    values: dict[str, Tensor]
    moments: AdamState
    memory: dict[str, Tensor]
    ended: Tensor
    record: StackStep


@dataclass
class StackStep:
    """What a stack's step leaves behind for the log; tensors still on the device."""

    slots: list[RunSlot]
    steps: list[int]
    prompt_step: PromptStep
    loss: Tensor
    """`[R]`: Σ nll / Σ tokens on the target's data, the mean over a run's branches."""
    grad_norm: Tensor
    """`[R]`, before clipping."""
    rates: np.ndarray
    """`[R 3]`: prompt, scale, scale_target."""
    examples: list[int]
    tokens: list[int]
    rows: list[np.ndarray]
    """Training rows of each run's batch, of the target's data."""
    step_ms: float = 0.0


def gather(slot: RunSlot) -> Part:
    """Return rows and examples of a run's next step."""
    config = slot.config
    rows = batch_rows(
        slot.data.fingerprint,
        config.data.seed,
        config.seed,
        config.optim.batch_size,
        slot.step + 1,
        len(slot.data.train),
    )
    return rows, [slot.data.train[int(row)] for row in rows]


def gather_beside(slot: RunSlot, place: int) -> list[Encoded]:
    """Return a source's examples of a run's next step, for branches that train on its data."""
    config, task = slot.config, slot.data.beside[place]
    seeds, size = (config.data.seed, config.seed), config.optim.batch_size
    rows = batch_rows(task.fingerprint, *seeds, size, slot.step + 1, len(task.train))
    return [task.train[int(row)] for row in rows]


def lots_of(slot: RunSlot, step: PromptStep, part: Part) -> list[Lot]:
    """Return what a run's step is made of, branch by branch."""
    places = sorted({place for branch in step.beside for place in branch})
    read = {place: gather_beside(slot, place) for place in places}
    lots = []
    for branch in range(branches_of(step)):
        lots.append(Lot(part[1], branch))
        for place in step.beside[branch] if step.beside else ():
            lots.append(Lot(read[place], branch, own=False))
    return lots


def coming(slots: Sequence[RunSlot]) -> StepBatch:
    """Return what a method is told about the next update of its runs."""
    return StepBatch(
        tuple(slot.step + 1 for slot in slots),
        tuple(slot.config.total_steps for slot in slots),
        tuple(slot.config.seed for slot in slots),
    )


def cohort_step(
    backbone: Backbone, stacks: Sequence[Stack], budget: int, cutting: Cutting = PADDED
) -> list[StackStep]:
    """Take one optimiser step of every run.

    Args:
        backbone: frozen; only prompts and scales get gradients.
        stacks: all runs of the cohort; parameters and moments are updated in place.
        budget: padded tokens per micro-batch.
        cutting: how examples become micro-batches.

    Returns:
        One record per stack; the slots' step counters are left to the caller.

    Raises:
        torch.OutOfMemoryError or RuntimeError: from the device; parameters are untouched then,
            so that the step can be repeated with a smaller budget.
    """
    started = time.perf_counter()
    batches = [[gather(slot) for slot in stack.slots] for stack in stacks]
    composed = [
        compose(backbone, stack, coming(stack.slots), parts)
        for stack, parts in zip(stacks, batches, strict=True)
    ]
    leaf = torch.cat([as_rows(step.prompt) for step in composed]).detach().requires_grad_()
    lots = [
        [lots_of(*each) for each in zip(stack.slots, [step] * len(parts), parts, strict=True)]
        for stack, step, parts in zip(stacks, composed, batches, strict=True)
    ]
    flat = [lot for mine in lots for run in mine for lot in run]
    counts = [len(lot.examples) for lot in flat]
    examples = [example for lot in flat for example in lot.examples]
    owner = np.repeat(np.arange(len(counts)), counts)
    targets = np.bincount(owner, [len(e.target) for e in examples], minlength=len(counts))
    sizes = [sum(len(lot.examples) for run in mine for lot in run) for mine in lots]
    places, lessons = _places(stacks, composed, lots), lessons_of(composed, sizes)
    with backbone.compiled(), dropping(backbone, [s for stack in stacks for s in stack.slots]):
        given = (backbone, leaf, examples, owner, targets, budget, places, lessons)
        loss = accumulate(*given, cutting)
        if cutting.reach is not None and not cutting.filled and not _all_numbers(loss, leaf.grad):
            # what is no number in one example is none in the others of its row: each in its own
            leaf.grad = None
            loss = accumulate(*given, Cutting(cutting.apart))
    if not all(lot.own for lot in flat):
        loss = loss[send(np.flatnonzero([lot.own for lot in flat]), loss.device)]
    gradient = leaf.grad if leaf.grad is not None else torch.zeros_like(leaf)
    ready, run, row = [], 0, 0
    for stack, step, parts, mine in zip(stacks, composed, batches, lots, strict=True):
        runs = slice(run, run + len(stack.slots) * branches_of(step))
        rows = slice(row, row + len(as_rows(step.prompt)))
        run, row = runs.stop, rows.stop
        ready.append(_prepare(stack, step, loss[runs], gradient[rows], parts, mine))
    for stack, update in zip(stacks, ready, strict=True):
        _apply(stack, update)
    records = [update.record for update in ready]
    elapsed = (time.perf_counter() - started) * 1e3
    for record in records:
        record.step_ms = elapsed
    return records


@contextmanager
def dropping(backbone: Backbone, slots: Sequence[RunSlot]) -> Iterator[None]:
    """Let dropout draw by the runs of a cohort and their coming steps, and by nothing else.

    So a cohort that goes on from a commit drops what it would have dropped without a break.

    Args:
        backbone: its dropout; without, nothing is drawn.
        slots: the cohort's runs.
    """
    if backbone.dropout == 0:
        yield
        return
    each = (
        f"{s.data.fingerprint}/{s.config.data.seed}/{s.config.seed}/{s.step + 1}" for s in slots
    )
    digest = hashlib.sha256("+".join(each).encode()).digest()
    with torch.random.fork_rng([backbone.device] if backbone.device.type == "cuda" else []):
        torch.manual_seed(int.from_bytes(digest[:7], "little"))
        yield


def _all_numbers(*tensors: Tensor | None) -> bool:
    return all(t is None or bool(torch.isfinite(t).all()) for t in tensors)


def branches_of(step: PromptStep) -> int:
    """Return how many branches each run of a stack trains; 1 for nearly every method."""
    return step.prompt.shape[1] if step.prompt.dim() == 4 else 1


def as_rows(tensor: Tensor) -> Tensor:
    """Put the axes before `r d` into one: a prompt per run and branch, or per example."""
    return tensor.flatten(0, -3)


def _places(
    stacks: Sequence[Stack], steps: Sequence[PromptStep], lots: Sequence[Sequence[Sequence[Lot]]]
) -> np.ndarray:
    """Return which of the composed prompts each example gets: its branch's, or its own."""
    places, start = [], 0
    for stack, step, mine in zip(stacks, steps, lots, strict=True):
        own, branches = isinstance(stack.method, InstanceWise), branches_of(step)
        which = [run * branches + lot.branch for run, each in enumerate(mine) for lot in each]
        counts = [len(lot.examples) for each in mine for lot in each]
        places.append(start + (np.arange(sum(counts)) if own else np.repeat(which, counts)))
        start += len(as_rows(step.prompt))
    return np.concatenate(places)


def accumulate(
    backbone: Backbone,
    leaf: Tensor,
    examples: Sequence[Encoded],
    owner: np.ndarray,
    targets: np.ndarray,
    budget: int,
    prompt_of: np.ndarray | None = None,
    lessons: Lessons | None = None,
    cutting: Cutting = PADDED,
) -> Tensor:
    """Run all examples through the backbone in pieces; gradients gather in `leaf.grad`.

    Args:
        backbone: the frozen model.
        leaf: `[p r d]`, one prompt per run or example, requires a gradient.
        examples: of all runs.
        owner: `[b]` run of each example.
        targets: `[R]` target tokens of each run's whole step.
        budget: padded tokens per micro-batch.
        prompt_of: `[b]` row of `leaf` for each example; None: that of its run.
        lessons: teachers that some examples follow.
        cutting: how examples become micro-batches.

    Returns:
        `[R]` loss of each run, Σ nll / Σ tokens, whatever the cut.
    """
    loss = torch.zeros(len(targets), dtype=leaf.dtype, device=leaf.device)
    lift = lifted(backbone, targets)
    share = send(1.0 / targets[owner], leaf.device, leaf.dtype)
    owners = send(owner, leaf.device)
    prompts = owners if prompt_of is None else send(prompt_of, leaf.device)
    backbone.training(True)
    length, cutting = leaf.shape[1], cutting.of(len(examples))
    for piece in cutting.pieces([e.tokens for e in examples], length, budget, owner):
        packing = cutting.packing(length, owner[piece])
        batch = backbone.batch_of([examples[i] for i in piece], packing)
        more = cutting.filling(len(piece))
        places = send(np.append(piece, np.full(more, piece[0])), leaf.device)
        weight = share[places]
        if more:
            weight[len(piece) :] = 0.0
        passes = backbone.passes if lessons is None else None
        if passes is not None and backbone.records(batch, length):
            nll = _recorded(passes, leaf, prompts[places], batch, weight * lift)
            loss.index_add_(0, owners[places], nll * weight)
            continue
        mine = leaf[prompts[places]]
        nll = taught_loss(backbone, mine, batch, lessons, piece)
        weighted = nll.to(leaf.dtype) * weight
        (weighted.sum() * lift).backward()
        loss.index_add_(0, owners[places], weighted.detach())
    backbone.training(False)
    if lift != 1.0 and leaf.grad is not None:
        leaf.grad /= lift
    return loss


def _recorded(
    passes: Passes, leaf: Tensor, rows: Tensor, batch: TokenBatch, weight: Tensor
) -> Tensor:
    """Run a micro-batch as a graph; return each example's loss, gradients gather in `leaf.grad`.

    Args:
        passes: of the backbone.
        leaf: `[p r d]`.
        rows: `[b]` row of `leaf` for each example.
        batch: the examples, padded.
        weight: `[b]` of each example's loss.
    """
    nll, gradient = passes(leaf.detach()[rows], batch, weight)
    if leaf.grad is None:
        leaf.grad = torch.zeros_like(leaf)
    leaf.grad.index_put_((rows,), gradient, accumulate=True)  # in one order, unlike index_add_
    return nll


def lifted(backbone: Backbone, targets: np.ndarray) -> float:
    """Return what a loss is multiplied by while its gradient goes back, a power of two.

    In float16 the gradient of one token among thousands is too small to be told from zero, so it
    is as large as among `FEW_TOKENS`.

    Args:
        backbone: whose type the gradient goes through.
        targets: `[R]` target tokens of each run's step.
    """
    if backbone.dtype is not torch.float16:
        return 1.0
    return float(2 ** max(0, math.floor(math.log2(targets.min() / FEW_TOKENS))))


def _prepare(
    stack: Stack,
    step: PromptStep,
    loss: Tensor,
    gradient: Tensor,
    parts: list[Part],
    lots: Sequence[Sequence[Lot]],
) -> Update:
    """Take the prompts' gradient back through composition, clip, and compute the update."""
    count = branches_of(step)
    slots, device = stack.slots, loss.device
    loss = _logged(loss.view(len(slots), count), step)
    gradient = gradient.view_as(step.prompt)
    loss, gradients = _gradients(stack, step, loss, gradient)
    norm = _logged(clip(gradients, [s.config.optim.clip_norm for s in slots], count), step)
    finite = torch.isfinite(loss) & torch.isfinite(norm)
    if stack.ended is not None:
        finite = finite & ~stack.ended
    factors = [rate_factor(s.step + 1, s.config.total_steps, s.config.optim) for s in slots]
    full = [slot.rates for slot in slots]
    rates = {
        name: send(np.array([r.of(role) * f for r, f in zip(full, factors, strict=True)]), device)
        for name, role in stack.method.roles.items()
    }
    observed = stack.method.observe(stack.state, gradient, coming(slots))
    before: Mapping[str, Tensor] = stack.state.parameters
    moments = stack.moments
    if step.restarted is not None:
        before, moments = restart(before, moments, _of_runs(finite, step.restarted), step.restart)
    updates = _updates(slots, step, device)
    decay = send(np.array([r.weight_decay for r in full]), device)
    values, moments = adamw(before, gradients, moments, rates, decay, updates, finite)
    memory = _remembered(stack, {**step.memory, **observed}, finite)
    if isinstance(stack.method, InstanceWise):
        step = averaged(step, [len(examples) for _, examples in parts])
    record = StackStep(
        slots=list(slots),
        steps=[slot.step + 1 for slot in slots],
        prompt_step=step,
        loss=loss,
        grad_norm=norm,
        rates=_at(full, factors),
        examples=[sum(len(lot.examples) for lot in run) for run in lots],
        tokens=[sum(e.tokens for lot in run for e in lot.examples) for run in lots],
        rows=[rows for rows, _ in parts],
    )
    return Update(values, moments, memory, ~finite, record)


def _at(full: Sequence[Rates], factors: Sequence[float]) -> np.ndarray:
    """Return rates at their place in the schedule, `[R 3]`: prompt, scale, scale_target."""
    heights = zip(full, factors, strict=True)
    return np.array([[r.prompt * f, r.scale * f, r.scale_target * f] for r, f in heights])


def _apply(stack: Stack, update: Update) -> None:
    """Take over what was computed."""
    put(stack.state.parameters, stack.moments, update.values, update.moments)
    stack.state.memory.update(update.memory)
    stack.ended = update.ended


def _of_runs(finite: Tensor, restarted: Tensor) -> Tensor:
    """Return which runs, or branches, restart: none of a run that has ended."""
    return restarted & finite.view((-1,) + (1,) * (restarted.dim() - 1))


def _remembered(stack: Stack, memory: Mapping[str, Tensor], finite: Tensor) -> dict[str, Tensor]:
    """Return a method's memory, with that of ended runs as it was."""
    made = dict(memory)
    for name, value in memory.items():
        before = stack.state.memory.get(name)
        if before is not None and before.shape == value.shape:
            made[name] = _kept(finite, value, before)
    return made


def _kept(finite: Tensor, value: Tensor, before: Tensor) -> Tensor:
    """Return a method's memory with that of ended runs as it was."""
    return torch.where(finite.view((-1,) + (1,) * (value.dim() - 1)), value, before)


def clip(gradients: dict[str, Tensor], limits: Sequence[float], branches: int) -> Tensor:
    """Clip each run's (and each of its branches') gradient jointly over all parameters, in place.

    Returns:
        `[R B]` norms before clipping; B is 1 without branches.
    """
    lead = 1 if branches == 1 else 2
    flat = {name: g.flatten(0, lead - 1) for name, g in gradients.items()}
    some = next(iter(flat.values()))
    each = np.repeat(np.array(limits), branches)
    norm, factor = clip_factor(flat, send(each, some.device, some.dtype))
    for name, g in gradients.items():
        gradients[name] = (flat[name] * factor.view((-1,) + (1,) * (g.dim() - lead))).view_as(g)
    return norm.view(len(limits), branches)


def _updates(slots: Sequence[RunSlot], step: PromptStep, device: torch.device) -> Tensor:
    """Return the number of this update since Adam began, per run `[R]` or branch `[R B]`."""
    updates = send(np.array([slot.step + 1.0 for slot in slots]), device)
    if ADAM_SINCE not in step.memory:
        return updates
    since = step.memory[ADAM_SINCE]
    return updates.view((-1,) + (1,) * (since.dim() - 1)) - since


def _logged(each: Tensor, step: PromptStep) -> Tensor:
    """Return what is logged of a number of every branch `[R B]`: the mean over those that count.

    It is not a number where another branch's is none, so that the run ends there.
    """
    if step.counted is None:
        return each.mean(1)
    mean = each[:, : step.counted].mean(1)
    return torch.where(torch.isfinite(each).all(1), mean, float("nan"))


def _gradients(
    stack: Stack, step: PromptStep, loss: Tensor, gradient: Tensor
) -> tuple[Tensor, dict[str, Tensor]]:
    """Return the loss with the method's penalty, and every parameter's gradient."""
    parameters = stack.state.parameters
    roots, seeds = [step.prompt], [gradient]
    penalty = stack.method.penalty(stack.state, step)
    if penalty is not None:
        roots.append(penalty.sum())
        seeds.append(torch.ones_like(roots[-1]))
        loss = loss + penalty.detach()
    found = torch.autograd.grad(roots, list(parameters.values()), seeds, allow_unused=True)
    gradients = {
        name: torch.zeros_like(p) if g is None else g
        for (name, p), g in zip(parameters.items(), found, strict=True)
    }
    return loss, gradients


def restart(
    parameters: Mapping[str, Tensor],
    moments: AdamState,
    restarted: Tensor,
    values: Mapping[str, Tensor],
) -> tuple[dict[str, Tensor], AdamState]:
    """Return the restarted runs', or branches', parameters at new values, with no moments.

    Args:
        parameters: `[R ...]`, or `[R B ...]` with branches.
        moments: Adam's.
        restarted: `[R]`, or `[R B]`.
        values: new ones by name; other parameters stay and lose their moments only.
    """
    made, after = dict(parameters), AdamState(dict(moments.first), dict(moments.second))
    with torch.no_grad():
        for name, parameter in parameters.items():
            mask = restarted.view(restarted.shape + (1,) * (parameter.dim() - restarted.dim()))
            if name in values:
                made[name] = torch.where(mask, values[name], parameter)
            for kept in (after.first, after.second):
                kept[name] = torch.where(mask, 0.0, kept[name])
    return made, after
