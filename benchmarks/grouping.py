"""The rule's speed: Gram + decide, and the whole composition against a plain nested loop.

`python benchmarks/grouping.py` prints a table. The plain version follows the published
algorithm word by word: one source after the other, one pair of sources after the other.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import numpy as np
import torch

from dtvg.methods.dtvg import decide_on_device
from dtvg.rule.decide import decide, gram_matrix, merge

Tensors = dict[str, torch.Tensor]


def inputs(n: int, r: int, d: int, related: bool) -> Tensors:
    """Random vectors with a common direction; `related`: with every source a candidate."""
    torch.manual_seed(0)
    shared = torch.randn(r, d)
    share = torch.randn(n, 1, 1)
    made = {
        "init": torch.randn(r, d),
        "target_vector": torch.randn(r, d) + 0.5 * shared,
        "source_vectors": torch.randn(n, r, d)
        + 0.3 * (share.abs() + 1 if related else share) * shared,
        "scale_target": torch.ones(r),
        "scale_sources": torch.ones(n, r),
    }
    for name in ("target_vector", "scale_target", "scale_sources"):
        made[name].requires_grad_()
    return made


def ours(t: Tensors) -> torch.Tensor:
    """Gram, decide, merge, backward with the package."""
    vectors = (t["target_vector"], t["source_vectors"], t["scale_target"], t["scale_sources"])
    member = decide_on_device(gram_matrix(*vectors)).member
    mixed = merge(t["init"], *vectors, member)
    mixed.sum().backward()
    return member


def plain(t: Tensors) -> torch.Tensor:
    """The published algorithm as nested loops over sources, prefixes and pairs."""
    d, n = t["init"].shape[1], len(t["source_vectors"])
    target = t["scale_target"][:, None] * t["target_vector"]
    pooled_target = target.mean(0)
    scaled = [t["scale_sources"][i][:, None] * t["source_vectors"][i] for i in range(n)]
    similarity = []
    for i in range(n):
        similarity.append((pooled_target * scaled[i].mean(0)).sum().item() / d)
    order = sorted(range(n), key=lambda i: -similarity[i])
    candidates = [i for i in order if similarity[i] >= 0]
    best, group = None, []
    for k in range(1, len(candidates) + 1):
        chosen = candidates[:k]
        values = []
        for i in chosen:
            for j in chosen:
                if i != j:
                    values.append((scaled[i].mean(0) * scaled[j].mean(0)).sum().item() / d)
        consistency = sum(values) / len(values) if values else 0.0
        if best is None or consistency > best:
            best, group = consistency, chosen
    mixed = t["init"] + target
    for i in group:
        mixed = mixed + scaled[i]
    mixed.sum().backward()
    member = torch.zeros(n, dtype=torch.bool)
    member[group] = True
    return member


def milliseconds(call: Callable[[], object], repeats: int) -> float:
    """Median time of a call."""
    times = []
    for _ in range(repeats):
        started = time.perf_counter()
        call()
        times.append((time.perf_counter() - started) * 1e3)
    return statistics.median(times)


def main() -> None:
    """Print one row per number of sources."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=50)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    print(f"threads {options.threads}, torch {torch.__version__}, numpy {np.__version__}")
    print(
        f"{'n':>4} {'r':>4} {'d':>5} {'cand.':>5} | {'gram ms':>8} {'decide ms':>9} "
        f"{'both ms':>8} | {'step ms':>8} {'plain ms':>9} {'ratio':>6}  same group"
    )
    sizes = ((6, 20, 192, True), (6, 100, 768, True), (25, 100, 768, False), (25, 100, 768, True))
    for n, r, d, related in sizes:
        row(n, r, d, related, options.repeats)


def row(n: int, r: int, d: int, related: bool, repeats: int) -> None:
    """Measure and print one size."""
    t = inputs(n, r, d, related)
    vectors = (t["target_vector"], t["source_vectors"], t["scale_target"], t["scale_sources"])
    gram = gram_matrix(*vectors)
    array = gram.numpy()
    ours(t), plain(t)
    gram_ms = milliseconds(lambda: gram_matrix(*vectors), repeats)
    decide_ms = milliseconds(lambda: decide(array), repeats)
    both = milliseconds(lambda: decide(gram_matrix(*vectors).numpy()), repeats)
    step = milliseconds(lambda: ours(t), repeats)
    loop = milliseconds(lambda: plain(t), max(3, repeats // 10))
    same = bool(torch.equal(ours(t), plain(t)))
    count = int(decide(array).n_candidates)
    print(
        f"{n:>4} {r:>4} {d:>5} {count:>5} | {gram_ms:>8.3f} {decide_ms:>9.3f} {both:>8.3f} | "
        f"{step:>8.3f} {loop:>9.2f} {loop / step:>5.0f}x  {same}"
    )


if __name__ == "__main__":
    main()
