"""How steps are computed: pieces, compiled layers, precision, rows read once, and no host waits."""

from __future__ import annotations

import traceback
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from torch.utils._python_dispatch import TorchDispatchMode

from dtvg.backbones import decoding, products
from dtvg.config import DeviceConfig, build_config
from dtvg.errors import StoreError
from dtvg.store.bank import PromptBank
from dtvg.store.files import read_json, replace_json
from dtvg.store.fork import fork
from dtvg.store.layout import create_experiment
from dtvg.store.reader import open_experiment, open_run, read_provenance, read_table
from dtvg.store.verify import verify_run
from dtvg.testing.tiny_run import tiny_config
from dtvg.training import engine
from dtvg.training.batches import Cutting, cut
from dtvg.training.engine import Engine, recorded
from dtvg.training.procedures import run_experiment
from dtvg.training.state import build_stacks
from dtvg.training.step import cohort_step

from . import factory

FAMILIES = [factory.tiny_backbone, factory.tiny_decoder]
ASKING = ("_local_scalar_dense", "nonzero", "masked_select", "is_nonzero", "equal")
"""Operators for whose result the host would wait for a GPU."""


class Asking(TorchDispatchMode):
    """Notes where values are asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[str] = []

    def __torch_dispatch__(self, op: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = op._schema.name.removeprefix("aten::")
        chosen = args[1] if name in ("index", "index_put", "index_put_") else ()
        by_mask = any(which is not None and which.dtype == torch.bool for which in chosen)
        if name in ASKING or by_mask:
            last = traceback.extract_stack()[-6:]
            self.seen.append(f"{name}: {' < '.join(f'{f.filename}:{f.lineno}' for f in last)}")
        return op(*args, **(kwargs or {}))


@pytest.mark.parametrize("family", FAMILIES)
def test_a_step_asks_the_device_for_no_value(family: Any) -> None:
    backbone = family(torch.float32)
    configs = factory.experiment(methods=["none", "dtvg", "spot"]).runs()
    stacks = build_stacks([factory.slot(c) for c in configs], backbone.device, torch.float32)
    cohort_step(backbone, stacks, 4096, Cutting(30))  # what is found out once
    with Asking() as asking:
        cohort_step(backbone, stacks, 4096, Cutting(30))
    assert asking.seen == []


def test_examples_of_similar_length_share_a_piece_where_it_saves_more_than_it_costs() -> None:
    lengths = [9, 8, 5, 5, 6, 50]
    assert [sorted(p.tolist()) for p in cut(lengths, 4, 400)] == [[0, 1, 2, 3, 4, 5]]
    assert [sorted(p.tolist()) for p in cut(lengths, 4, 400, 20)] == [[5], [0, 1, 2, 3, 4]]
    assert len(cut(lengths, 4, 400, 10_000)) == 1
    rng = np.random.default_rng(0)
    for count in (1, 30, 300):
        drawn = rng.integers(1, 90, count)
        pieces = cut(drawn, 4, 500, 20)
        assert sorted(np.concatenate(pieces).tolist()) == list(range(count))
        assert all(len(p) == 1 or len(p) * (drawn[p].max() + 4) <= 500 for p in pieces)
        padded = sum(len(p) * (drawn[p].max() + 4) + 20 for p in pieces)
        filled = sum(len(p) * (drawn[p].max() + 4) + 20 for p in cut(drawn, 4, 500))
        assert padded <= filled * (1.01 if count > 64 else 1)  # of many, nearly equal is equal
    assert cut([], 4, 400, 20) == []


@pytest.mark.parametrize("cutting", [Cutting(15), Cutting(reach=90.0), Cutting(reach=1.0)])
@pytest.mark.parametrize("family", FAMILIES)
def test_a_run_in_a_cohort_is_the_one_it_is_alone_however_pieces_are_cut(
    family: Any, cutting: Cutting
) -> None:
    backbone, configs = family(), factory.experiment(methods=["none", "dtvg"], seeds=[0, 1]).runs()
    assert backbone.packs
    slots = [factory.slot(c) for c in configs]
    together, _ = factory.train(backbone, slots, 8, cutting=cutting)
    mixed = factory.prompts(together)
    alone, _ = factory.train(backbone, [factory.slot(configs[-1])], 8)
    name = configs[-1].name
    assert float((factory.prompts(alone)[name] - mixed[name]).abs().max()) < 1e-9


def test_few_examples_are_packed_and_of_many_those_of_a_length_share_a_piece() -> None:
    both = Cutting(20, 90.0)
    assert both.of(48) is both and both.of(49) == Cutting(20)
    lengths = np.random.default_rng(0).integers(1, 900, 40)
    packed = both.pieces(lengths, 4, 100_000)
    assert all(len(p) == 1 or sum(lengths[p] + 4) <= 2048 for p in packed)
    assert sorted(np.concatenate(packed).tolist()) == list(range(40))


@pytest.mark.parametrize("family", FAMILIES)
def test_a_run_without_numbers_leaves_those_alone_that_share_rows_with_it(family: Any) -> None:
    backbone, configs = family(), factory.experiment(methods=["none"], seeds=[0, 1]).runs()
    slots = [factory.slot(c) for c in configs]
    for name in ("init", "target_prompt"):
        slots[0].inputs[name] = np.full_like(slots[0].inputs[name], np.inf)
    together, seen = factory.train(backbone, slots, 4, cutting=Cutting(reach=1e9))
    alone, _ = factory.train(backbone, [factory.slot(configs[1])], 4)
    name = configs[1].name
    assert all(np.isnan(loss) for _, loss in seen[configs[0].name])
    assert (
        float((factory.prompts(alone)[name] - factory.prompts(together)[name]).abs().max()) < 1e-9
    )


@pytest.mark.parametrize("family", FAMILIES)
def test_the_loss_read_from_a_prefix_is_that_of_teacher_forcing(family: Any) -> None:
    backbone, examples = family(), factory.rows(7, 3)
    prompts = torch.randn(7, 4, factory.WIDTH, dtype=torch.float64)
    sources = [e.source for e in examples]
    with torch.no_grad():
        wanted = backbone.loss(prompts, backbone.collate(examples))[0]
        prefix = backbone.begin(prompts, sources)
        assert prefix.can_forget
        found = decoding.answer_losses(backbone, prefix, [e.target for e in examples])
        assert torch.allclose(found, wanted, atol=1e-9)
        fresh = decoding.greedy(backbone, prompts, sources, 6)
        assert torch.equal(decoding.greedy(backbone, prompts, sources, 6, prefix=prefix), fresh)


@pytest.mark.parametrize("reach", [None, 90.0])
def test_compiled_layers_compute_what_they_compute_eagerly(reach: float | None) -> None:
    configs = factory.experiment(methods=["none", "dtvg"]).runs()
    eager, compiled = (factory.tiny_decoder(torch.float32) for _ in range(2))
    compiled.compile_layers("eager", Cutting(reach=reach).packing)
    assert compiled.layers is not None and len(compiled.layers.layers) == 3
    used: list[int] = []
    first = compiled.layers._forwards[0]
    compiled.layers._forwards[0] = lambda *a, **k: used.append(1) or first(*a, **k)
    wanted, _ = factory.train(eager, [factory.slot(c) for c in configs], 3)
    slots = [factory.slot(c) for c in configs]
    found, _ = factory.train(compiled, slots, 3, cutting=Cutting(reach=reach))
    for name, prompt in factory.prompts(wanted).items():
        assert torch.allclose(factory.prompts(found)[name], prompt, atol=1e-5), name
    assert len(used) == 3 and not any("forward" in vars(x) for x in compiled.layers.layers)


def test_a_probe_decides_on_precision_and_float32_stays_where_it_is_no_faster(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    config, cpu = DeviceConfig(precision="auto"), torch.device("cpu")
    monkeypatch.setattr(engine, "has_bfloat16", lambda device: False)
    assert engine.choose_precision(config, cpu).precision == "float32"
    monkeypatch.setattr(engine, "has_bfloat16", lambda device: True)
    for seconds, wanted in ((0.5, "bfloat16"), (0.95, "float32")):
        monkeypatch.setattr(engine, "probe", lambda d, s=seconds: {"float32": 1.0, "bfloat16": s})
        found = engine.choose_precision(config, cpu)
        assert found.precision == wanted and "times as fast" in found.because
        assert found.dtype == torch.float32


def test_an_experiment_keeps_the_engine_it_was_begun_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "has_bfloat16", lambda device: True)
    monkeypatch.setattr(engine, "probe", lambda device: {"float32": 1.0, "bfloat16": 0.1})
    values = tiny_config(
        tmp_path / "parts",
        methods=["dtvg"],
        seeds=[0],
        device={"name": "cpu", "precision": "auto"},
        logging={"keep_every": 2},
    )
    config = build_config(values)
    made = create_experiment(config, tmp_path / "runs")
    bank = PromptBank(tmp_path / "bank")
    run_experiment(made, bank=bank)
    monkeypatch.setattr(engine, "probe", lambda device: {"float32": 1.0, "bfloat16": 9.0})
    kept = recorded(made, config.device)
    because = "A probe found bfloat16 10.0 times as fast."
    widened = products.pays(torch.device("cpu"))
    assert kept == Engine(precision="bfloat16", because=because, widened=widened)
    (run,) = (r for r in open_experiment(made.path).runs if r.role == "transfer")
    assert run.state.value == "finished" and verify_run(run.path) == []
    assert read_provenance(run)["engine"]["precision"] == "bfloat16"
    told = read_table(run, "events").to_pylist()[0]["detail"]
    assert "Computed in bfloat16, layer by layer" in told
    assert {prompt.precision for prompt in bank.list()} == {"bfloat16"}
    child = fork(open_run(run.path), at=2)
    assert recorded(child, config.device) == kept
    made.engine_path.write_text('{"version": "x"}')
    with pytest.raises(StoreError, match="engine.json'.*'version'.*Restore it"):
        recorded(made, config.device)
    made.engine_path.unlink()
    assert recorded(made, config.device) == kept  # the runs note it too
    for one in made.runs():  # as experiments of before look
        noted = read_json(one.provenance_path)
        replace_json(one.provenance_path, {k: v for k, v in noted.items() if k != "engine"})
    old = config.device.model_copy(update={"precision": "float32"})
    assert recorded(made, old) == Engine(1, "float32")
    replace_json(made.engine_path, {**read_json(child.engine_path), "later": 1})
    assert recorded(made, old) == kept


@pytest.mark.slow
def test_a_compiled_run_that_was_stopped_goes_on_bit_for_bit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(engine.PAYS, "cpu", 0.0)
    monkeypatch.setattr(products, "pays", lambda device: False)  # what gains more than compiling
    tiny_config(tmp_path / "parts")
    deeper = transformers.T5Config.from_pretrained(tmp_path / "parts" / "backbone", num_layers=3)
    transformers.T5ForConditionalGeneration(deeper).save_pretrained(tmp_path / "parts" / "backbone")
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path / "compiled"))
    rows = {}
    for name, way in (("whole", "run"), ("stopped", "fork")):
        values = tiny_config(
            tmp_path / "parts", name=name, methods=["dtvg"], seeds=[0], logging={"keep_every": 2}
        )
        made = create_experiment(build_config(values), tmp_path / name)
        run_experiment(made, bank=PromptBank(tmp_path / "bank"))
        assert read_json(made.engine_path)["compiled"]
        (run,) = (r for r in open_experiment(made.path).runs if r.role == "transfer")
        if way == "fork":
            child = fork(open_run(run.path), at=2)
            run_experiment(child, bank=PromptBank(tmp_path / "bank"))
            (run,) = open_experiment(child.path).runs
        rows[name] = read_table(run, "steps").column("loss").to_pylist()
    assert rows["whole"] == rows["stopped"]
