"""Primal-dual relations: an online task-relation matrix, learned in the dual, weighs the sources.

Every task has a row of duals, sums of how far its loss falls along each task's vector; the
relation matrix is their projection-free image, `Ω_i = softmax(η Y_i / √t)`. `P = P_t + Σ_s
Ω_ts T_s`. Tasks may skip rounds; what they would have exchanged waits. Runs on several targets
can share one matrix: each keeps its own row and hears of the others' now and then; their vectors
are then weighed as well. arXiv 2004.01305.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from dtvg.methods.base import (
    Finding,
    Inputs,
    MethodState,
    PromptStep,
    Role,
    StepBatch,
    trainable,
)
from dtvg.methods.dtvg import decide_on_device
from dtvg.methods.exchanging import EXCHANGED, Exchanging, Met
from dtvg.rule.decide import gram_matrix

TARGET = "target"
"""Name of the target's row and column."""


def relation(
    duals: Float[Tensor, "*batch m m"], rounds: Float[Tensor, "*batch"], rate: float
) -> Float[Tensor, "*batch m m"]:
    """Return `softmax(η Y / √t)` row by row: dual averaging with the entropy, no projection."""
    spread = rounds.clamp(min=1).sqrt()[..., None, None]
    return torch.softmax(rate * duals / spread, dim=-1)


def gains(
    gradient: Float[Tensor, "*batch r d"],
    target: Float[Tensor, "*batch r d"],
    sources: Float[Tensor, "*batch n r d"],
) -> Float[Tensor, "*batch m m"]:
    """Return `c_ij = cos(−g_i, T_j)`: how far task i's loss falls along task j's vector.

    The target's `g` is this round's gradient by the prompt. A source's data is not read any more:
    what its Stage I went along, `T_s`, stands for `−g_s`.
    """
    vectors = torch.cat([target[..., None, :, :], sources], dim=-3).flatten(-2)
    falls = torch.cat([-gradient[..., None, :, :], sources], dim=-3).flatten(-2)
    tiny = torch.finfo(vectors.dtype).tiny
    vectors = vectors / vectors.norm(dim=-1, keepdim=True).clamp(min=tiny)
    falls = falls / falls.norm(dim=-1, keepdim=True).clamp(min=tiny)
    return falls @ vectors.mT


def exchange(
    duals: Float[Tensor, "*batch m m"],
    waiting: Float[Tensor, "*batch m m"],
    gained: Float[Tensor, "*batch m m"],
    active: Bool[Tensor, "*batch m"],
) -> tuple[Float[Tensor, "*batch m m"], Float[Tensor, "*batch m m"]]:
    """Return duals and what still waits: a pair settles in a round in which both take part."""
    both = active[..., :, None] & active[..., None, :]
    due = waiting + gained
    return duals + torch.where(both, due, 0.0), torch.where(both, 0.0, due)


class Method(Exchanging):
    """`primal_dual`: see the module's first lines.

    Tasks stand in the order target, sources, other targets that share; `p` counts these. A run
    settles its own row and its sources' columns of itself; the others' rows come by exchange.
    """

    config: Any
    roles: ClassVar[dict[str, Role]] = {"prompt": "prompt"}

    def prepare(self, inputs: Inputs) -> MethodState:
        """Start from the target's Stage I prompt, all tasks related alike."""
        vectors = inputs.source_vectors
        runs, n = vectors.shape[:2]
        peers = max(0, len(self.config.share) - 1)
        zeros = vectors.new_zeros((runs, n + 1 + peers, n + 1 + peers))
        none = vectors.new_zeros(runs)
        frozen = {
            "init": inputs.init,
            "source_vectors": vectors,
            "source_norms": vectors.flatten(2).norm(dim=-1),
        }
        memory = {"duals": zeros, "waiting": zeros.clone(), "rounds": none}
        if peers:
            places = [self.config.share.index(target) for target in inputs.targets]
            frozen["place"] = torch.tensor(places, device=vectors.device)
            marks = [[zlib.crc32(s.encode()) for s in names] for names in inputs.source_names]
            frozen["marks"] = torch.tensor(marks, device=vectors.device).view(runs, n)
            memory["settled"], memory[EXCHANGED] = none.clone(), none.clone()
            memory["peers"] = vectors.new_zeros((runs, peers, *vectors.shape[2:]))
            memory["heard"] = vectors.new_zeros((runs, peers))
            memory["settled_by"] = vectors.new_zeros((runs, peers))
        return MethodState({"prompt": trainable(inputs.target_prompt)}, frozen, memory)

    def forward(self, state: MethodState, batch: StepBatch | None = None) -> PromptStep:
        """Add each task's vector as often as the target's row of the relation matrix says."""
        own, sources = state.parameters["prompt"], state.frozen["source_vectors"]
        row, n = self._relation(state)[:, 0], sources.shape[1]
        weights = row[:, 1 : n + 1]
        prompt = own + torch.einsum("rn,rnld->rld", weights, sources)
        if self.config.share:
            others = state.memory["peers"]
            prompt = prompt + torch.einsum("rn,rnld->rld", row[:, n + 1 :], others)
        ones = torch.ones_like(weights)
        with torch.no_grad():
            vector = own - state.frozen["init"]
            one = vector.new_ones(vector.shape[:-1])
            scales = one[:, None].expand(*sources.shape[:-1])
            gram = gram_matrix(vector, sources, one, scales)
        grouping = decide_on_device(gram, self.settings)
        norms = weights * state.frozen["source_norms"]
        return PromptStep(prompt, weights, grouping, ones, norms)

    def observe(
        self, state: MethodState, gradient: Float[Tensor, "R r d"], batch: StepBatch
    ) -> dict[str, Tensor]:
        """Take this round into the duals of the tasks that take part; of a shared matrix, into
        what waits for the next exchange."""
        own, sources = state.parameters["prompt"].detach(), state.frozen["source_vectors"]
        vector, rounds = own - state.frozen["init"], state.memory["rounds"] + 1
        if self.config.share:
            gained = self._gains_of_all(state, gradient, vector)
            return {"waiting": state.memory["waiting"] + gained, "rounds": rounds}
        gained = gains(gradient, vector, sources)
        drawn = batch.uniform(gained.shape[-1:], "primal_dual", gained)
        duals, waiting = exchange(
            state.memory["duals"], state.memory["waiting"], gained, drawn >= self.config.skip
        )
        return {"duals": duals, "waiting": waiting, "rounds": rounds}

    def _gains_of_all(
        self, state: MethodState, gradient: Float[Tensor, "R r d"], vector: Float[Tensor, "R r d"]
    ) -> Float[Tensor, "R m m"]:
        """Return this step's gains: the target's along all tasks, the sources' along all but the
        other targets, whose runs settle these; a target that was not heard of gains nothing."""
        sources, others = state.frozen["source_vectors"], state.memory["peers"]
        n, zeros = sources.shape[1], torch.zeros_like(state.memory["duals"])
        known = gains(gradient, vector, torch.cat([sources, others], dim=1))
        zeros[:, 0] = known[:, 0]
        zeros[:, 1 : n + 1, : n + 1] = known[:, 1 : n + 1, : n + 1]
        return zeros

    # -- the exchange of a shared matrix -------------------------------------------------------

    def is_round(self, step: int) -> bool:
        """Whether there is an exchange after so many steps: after every k-th."""
        return bool(self.config.share) and step > 0 and step % self.config.every == 0

    def takes_part(self, target: str, seed: int, step: int) -> bool:
        """Whether a run takes part in a round: drawn by its target, its seed and the step."""
        if not self.config.skip:
            return True
        salt = zlib.crc32(f"primal_dual/{target}".encode())
        drawn = np.random.default_rng([seed, step, salt]).random()
        return bool(drawn >= self.config.skip)

    def offer(self, state: MethodState, row: int) -> dict[str, np.ndarray]:
        """Return a run's vector, the duals it settled (its row, by places in `share`, then its
        sources' gains along it), and the rounds that they settled."""
        vector = state.parameters["prompt"].detach()[row] - state.frozen["init"][row]
        duals, n = state.memory["duals"][row], state.frozen["source_vectors"].shape[1]
        place = int(state.frozen["place"][row])
        others = duals[0, n + 1 :]
        targets = torch.cat([others[:place], duals[0, :1], others[place:]])
        found = {
            "vector": vector,
            "duals_targets": targets,
            "duals_sources": duals[0, 1 : n + 1],
            "duals_of_sources": duals[1 : n + 1, 0],
            "sources": state.frozen["marks"][row],
            "settled": state.memory["settled"][row],
        }
        return {name: tensor.cpu().numpy().copy() for name, tensor in found.items()}

    def take(self, state: MethodState, row: int, met: Mapping[str, Met]) -> None:
        """Settle what waited with all who take part, and take over the others' vectors and rows."""
        names = self._peers(state, row)
        memory, n = state.memory, state.frozen["source_vectors"].shape[1]
        duals, waiting = memory["duals"].clone(), memory["waiting"].clone()
        peers, heard = memory["peers"].clone(), memory["heard"].clone()
        settled_by = memory["settled_by"].clone()
        active = torch.ones(duals.shape[-1], dtype=torch.bool, device=duals.device)
        for place, name in enumerate(names):
            offer, at = met[name].offer, n + 1 + place
            active[at] = offer is not None
            if offer is None:
                continue
            peers[row, place] = torch.as_tensor(offer["vector"]).to(peers)
            heard[row, place] = 1
            settled_by[row, place] = offer["settled"].item()
            self._take_row(state, row, duals, at, offer)
        own = torch.zeros_like(active)
        own[: n + 1] = True
        mine = own[:, None] & active[None, :]
        duals[row] += torch.where(mine, waiting[row], 0.0)
        waiting[row] = torch.where(mine, 0.0, waiting[row])
        settled = memory["settled"].clone()
        settled[row] = memory["rounds"][row]
        state.memory |= {
            "duals": duals,
            "waiting": waiting,
            "peers": peers,
            "heard": heard,
            "settled": settled,
            "settled_by": settled_by,
        }

    def _take_row(
        self, state: MethodState, row: int, duals: Tensor, at: int, offer: Mapping[str, np.ndarray]
    ) -> None:
        """Write another target's row, and the sources' gains along it, into a run's matrix.

        A target that is also a source is none of its own, so some sources may differ; what one
        run knows of them alone stays unknown to the other, as zeros.
        """
        n, own = state.frozen["source_vectors"].shape[1], int(state.frozen["place"][row])
        theirs = torch.as_tensor(offer["duals_targets"]).to(duals)
        duals[row, at, 0] = theirs[own]
        duals[row, at, n + 1 :] = torch.cat([theirs[:own], theirs[own + 1 :]])
        place = {int(mark): i for i, mark in enumerate(offer["sources"])}
        for i, mark in enumerate(state.frozen["marks"][row].tolist()):
            if mark in place:
                duals[row, at, i + 1] = float(offer["duals_sources"][place[mark]])
                duals[row, i + 1, at] = float(offer["duals_of_sources"][place[mark]])

    def _peers(self, state: MethodState, row: int) -> tuple[str, ...]:
        """Return the other targets of a run, in the order of its matrix."""
        if not self.config.share:
            return ()
        own = self.config.share[int(state.frozen["place"][row])]
        return tuple(self.config.exchanges_with(own))

    def findings(self, state: MethodState, names: tuple[tuple[str, ...], ...]) -> list[Finding]:
        """Tell each run's relation matrix, row by row, as far as it is known."""
        found, matrices = [], self._relation(state)
        for place, sources in enumerate(names):
            peers = [p if p not in sources else f"{p} (target)" for p in self._peers(state, place)]
            tasks = (TARGET, *sources, *peers)
            known = [True] * (1 + len(sources))
            known += [bool(x) for x in state.memory["heard"][place]] if peers else []
            rows, duals = matrices[place].tolist(), state.memory["duals"][place].tolist()
            shown = [i for i, there in enumerate(known) if there]
            matrix = {tasks[i]: {tasks[j]: round(rows[i][j], 4) for j in shown} for i in shown}
            detail = f"Relation matrix, by row: {json.dumps(matrix, ensure_ascii=False)}."
            pairs = [(i, j) for i in shown for j in shown]
            table = {
                "task": [tasks[i] for i, _ in pairs],
                "other": [tasks[j] for _, j in pairs],
                "relation": [rows[i][j] for i, j in pairs],
                "dual": [duals[i][j] for i, j in pairs],
            }
            found.append(Finding("relations", detail, {"relations": matrix}, {"relations": table}))
        return found

    def _relation(self, state: MethodState) -> Float[Tensor, "R m m"]:
        """Return the relation matrix; who was not heard of has no part in it."""
        memory = state.memory
        if not self.config.share:
            return relation(memory["duals"], memory["rounds"], self.config.rate)
        n = state.frozen["source_vectors"].shape[1]
        own = memory["settled"][:, None].expand(-1, n + 1)
        rounds = torch.cat([own, memory["settled_by"]], dim=1).clamp(min=1)
        logits = self.config.rate * memory["duals"] / rounds.sqrt()[..., None]
        known = torch.cat([torch.ones_like(own), memory["heard"]], dim=1) > 0
        return torch.softmax(logits.masked_fill(~known[:, None, :], float("-inf")), dim=-1)
