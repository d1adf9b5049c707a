"""Steps recorded as graphs, emulated on the processor: shapes, fill-up, and what they compute."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from hypothesis import given
from hypothesis import strategies as st

from dtvg.backbones import decoder_only, graphs
from dtvg.backbones.base import Backbone, Encoded
from dtvg.backbones.encoder_decoder import EncoderDecoder
from dtvg.backbones.packing import (
    Packing,
    filled_bounds,
    filled_count,
    filled_layout,
    filled_size,
    filled_tokens,
)
from dtvg.config import DeviceConfig
from dtvg.errors import ConfigError
from dtvg.training.batches import Cutting, filling
from dtvg.training.engine import Engine, with_graphs
from dtvg.training.state import build_stacks
from dtvg.training.step import PADDED, accumulate, cohort_step
from tests.training import factory

GRAPHS = Engine(graphs=True)


class Emulated:
    """A graph: calls again what was recorded, into the same place."""

    def __init__(self, call: Callable[[], Any], writes: Any) -> None:
        self.call, self.writes = call, writes

    def replay(self) -> None:
        for place, values in zip(self.writes, self.call(), strict=True):
            place.copy_(values)


def record(call: Callable[[], Any]) -> tuple[Any, Any]:
    writes = tuple(torch.full_like(tensor, float("nan")) for tensor in call())
    return Emulated(call, writes), writes


def graphed(model: Backbone) -> Backbone:
    model.passes = graphs.Passes(model.loss, record)
    return model


@pytest.fixture
def bounded() -> Iterator[None]:
    decoder_only.BOUNDED.add("cpu")
    yield
    decoder_only.BOUNDED.discard("cpu")


def trained(model: Backbone, configs: Any, cutting: Cutting, budget: int = 4096, steps: int = 10):
    slots = [factory.slot(c) for c in configs]
    stacks = build_stacks(slots, model.device, GRAPHS.dtype if model.passes else torch.float32)
    for _ in range(steps):
        cohort_step(model, stacks, budget, cutting)
        for slot in slots:
            slot.step += 1
    return factory.prompts(stacks, model)


METHODS = ["dtvg", "none", "attempt", "forkmerge", {"name": "mpt", "distil": "prompts"}]


@pytest.mark.parametrize("family", [factory.tiny_backbone, factory.tiny_decoder])
@pytest.mark.parametrize("budget", [4096, 300])
@pytest.mark.parametrize("packs", [True, False])
def test_replayed_steps_compute_what_padded_ones_do(
    family: Callable[..., Backbone], budget: int, packs: bool
) -> None:
    configs = factory.experiment(methods=METHODS, seeds=[0, 1]).runs()
    plain, model = family(torch.float64), graphed(family(torch.float64))
    if not packs:
        model.__dict__["packs"] = False
    wanted = trained(plain, configs, PADDED)
    found = trained(model, configs, GRAPHS.cutting(model), budget)
    assert GRAPHS.cutting(model).filled and (GRAPHS.reach(model) is not None) == packs
    for name, prompt in wanted.items():
        assert torch.allclose(found[name], prompt, atol=1e-4), name


def test_most_steps_are_replayed_from_few_shapes() -> None:
    model = graphed(factory.tiny_decoder(torch.float32))
    trained(model, factory.experiment(methods=["dtvg"]).runs(), GRAPHS.cutting(model), steps=30)
    assert model.passes is not None
    assert len(model.passes) <= 3 and model.passes.replayed >= 25


@pytest.mark.usefixtures("bounded")
def test_examples_of_a_single_row_attend_between_their_bounds() -> None:
    model = factory.tiny_decoder(torch.bfloat16)
    assert model.packs and model._by_bounds
    examples = factory.rows(7, 3)
    batch = model.pack(examples, Packing(4, 1e9, True))
    assert batch.packed is not None and batch.packed.bounds is not None
    prompts = torch.randn(len(batch.ids), 4, factory.WIDTH).to(torch.bfloat16)
    with torch.no_grad():
        found = model.loss(prompts, batch)[0][: len(examples)]
        wanted = model.loss(prompts[: len(examples)], model.collate(examples))[0]
    assert torch.allclose(found, wanted, rtol=0.02)


@pytest.mark.usefixtures("bounded")
@pytest.mark.parametrize("family", [factory.tiny_backbone, factory.tiny_decoder])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("bad", [0, 1, 2])
def test_a_run_that_is_no_number_ends_alone(
    family: Callable[..., Backbone], dtype: torch.dtype, bad: int
) -> None:
    model = graphed(family(dtype))
    configs = factory.experiment(methods=["none"], seeds=[0, 1, 2]).runs()
    (stack,) = build_stacks([factory.slot(c) for c in configs], model.device, torch.float32)
    for step in range(4):
        if step == 3:
            with torch.no_grad():
                stack.state.parameters["prompt"][bad] = float("inf")
        cohort_step(model, [stack], 4096, GRAPHS.cutting(model))
    assert stack.ended is not None and stack.ended.tolist() == [i == bad for i in range(3)]


def test_a_model_that_cannot_be_recorded_goes_on_kernel_by_kernel(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def fails(call: Callable[[], Any]) -> Any:
        raise RuntimeError("operation not permitted when stream is capturing\nmore")

    model = factory.tiny_decoder(torch.float32)
    model.passes = graphs.Passes(model.loss, fails)
    configs = factory.experiment(methods=["none"]).runs()
    found = trained(model, configs, GRAPHS.cutting(model))
    wanted = trained(factory.tiny_decoder(torch.float32), configs, PADDED)
    assert (
        not model.passes.records and not len(model.passes) and caplog.text.count("capturing") == 1
    )
    for name, prompt in wanted.items():
        assert torch.allclose(found[name], prompt, atol=1e-3), name


class Through:
    """Work goes through a stream, until this is left."""

    def __init__(self, host: Host, stream: tuple[str, str]) -> None:
        self.host, self.stream, self.before = host, stream, host.stream

    def __enter__(self) -> None:
        self.before, self.host.stream = self.host.stream, self.stream

    def __exit__(self, *error: object) -> None:
        self.host.stream = self.before


class Host:
    """What PyTorch keeps of CUDA on the host: the device and the stream of a thread."""

    def __init__(self, fails: bool = False) -> None:
        self.device, self.stream, self.fails = 0, ("cuda:0", "usual"), fails
        self.recording: Any = None
        self.recorded: list[Any] = []

    @contextlib.contextmanager
    def on(self, device: torch.device) -> Iterator[None]:
        before, self.device = self.device, device.index
        yield
        self.device = before

    def new_stream(self) -> tuple[str, str]:
        return (f"cuda:{self.device}", "own")

    def current(self) -> tuple[str, str]:
        return self.stream if self.device == 0 else (f"cuda:{self.device}", "usual")

    def through(self, stream: tuple[str, str]) -> Any:
        return Through(self, stream)

    def graph(self) -> Any:
        def begin(*pool: Any, **options: Any) -> None:
            self.recording = self.stream

        def end() -> None:
            self.recorded.append(self.recording)
            if self.fails:
                raise RuntimeError("operation failed due to a previous error during capture")

        return SimpleNamespace(capture_begin=begin, capture_end=end)

    def stand_in(self, patch: pytest.MonkeyPatch) -> None:
        """Take the place of CUDA."""
        fakes = {
            "device": self.on, "Stream": self.new_stream, "current_stream": self.current,
            "stream": self.through, "CUDAGraph": self.graph, "graph_pool_handle": lambda: (0, 1),
            "synchronize": lambda: None, "empty_cache": lambda: None,
        }  # fmt: skip
        for name, fake in fakes.items():
            patch.setattr(torch.cuda, name, fake)
        patch.setattr(torch._C, "_host_emptyCache", lambda: None, raising=False)
        patch.setattr(torch.cuda.graph, "default_capture_stream", None)


def test_steps_are_recorded_on_the_gpu_that_computes_them(monkeypatch: pytest.MonkeyPatch) -> None:
    host = Host()
    host.stand_in(monkeypatch)
    passes = graphs.Passes(lambda *given: given, device=torch.device("cuda:1"))
    passes._record(lambda: (torch.zeros(1), torch.zeros(1, 2, 3)))
    assert host.recorded == [("cuda:1", "own")] and host.device == 0


def test_the_stream_is_as_before_where_recording_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    host = Host(fails=True)
    host.stand_in(monkeypatch)
    passes = graphs.Passes(lambda *given: given, device=torch.device("cuda:0"))
    with pytest.raises(RuntimeError, match="during capture"):
        passes._record(lambda: (torch.zeros(1), torch.zeros(1, 2, 3)))
    assert host.recorded and host.stream == ("cuda:0", "usual")


@pytest.mark.parametrize(("longest", "records"), [(20, True), (70, False)])
def test_a_window_hides_nothing_from_recording(
    longest: int, records: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = transformers.Cohere2Config(
        vocab_size=40, hidden_size=factory.WIDTH, intermediate_size=32, num_hidden_layers=2,
        num_attention_heads=2, num_key_value_heads=2, sliding_window=64, pad_token_id=0,
        bos_token_id=0, eos_token_id=1, layer_types=["sliding_attention", "full_attention"],
    )  # fmt: skip
    model = transformers.Cohere2ForCausalLM(config)
    backbone = decoder_only.DecoderOnly(model, factory.Numbers(), "cohere", "0")
    assert not backbone.packs
    batch = backbone.batch_of(of_lengths((longest, 2), (5, 1)), Packing(4, 1e9, True))
    attend, masked = torch.nn.functional.scaled_dot_product_attention, []

    def watched(*given: Any, **options: Any) -> torch.Tensor:
        masked.append(options.get("attn_mask") is not None)
        return attend(*given, **options)

    monkeypatch.setattr(torch.nn.functional, "scaled_dot_product_attention", watched)
    assert backbone.records(batch, 4) is records
    masked.clear()
    for recording in (False, True):
        monkeypatch.setattr(torch.cuda, "is_current_stream_capturing", lambda on=recording: on)
        backbone.loss(torch.randn(2, 4, factory.WIDTH), batch)
    eager, recorded = masked[:2], masked[2:]
    assert (eager == recorded) is records


def test_memory_of_graphs_is_given_back_where_the_device_ran_out_of_it() -> None:
    model = graphed(factory.tiny_decoder(torch.float32))
    trained(model, factory.experiment(methods=["none"]).runs(), GRAPHS.cutting(model))
    assert model.passes is not None and len(model.passes)
    model.passes.forget()
    assert not len(model.passes)
    trained(model, factory.experiment(methods=["none"]).runs(), GRAPHS.cutting(model))
    assert len(model.passes)


def test_who_records_steps_as_graphs() -> None:
    model = factory.tiny_decoder(torch.float32)
    assert not with_graphs(Engine(), DeviceConfig(), model, begun=False).graphs  # no GPU
    model.device = torch.device("cuda")
    assert with_graphs(Engine(), DeviceConfig(), model, begun=False).graphs
    assert model.passes is not None
    assert not with_graphs(Engine(), DeviceConfig(graphs="off"), model, begun=False).graphs
    assert with_graphs(GRAPHS, DeviceConfig(graphs="off"), model, begun=True).graphs
    assert not with_graphs(Engine(4), DeviceConfig(), model, begun=True).graphs
    assert not with_graphs(Engine(precision="float64"), DeviceConfig(), model, begun=False).graphs
    model.dropout = 0.1
    assert not with_graphs(Engine(), DeviceConfig(), model, begun=False).graphs
    assert "steps as CUDA graphs" in GRAPHS.sentence()


widths = st.lists(st.integers(1, 300), min_size=1, max_size=40)


@given(widths, st.data())
def test_filled_rows_hold_every_example_once_and_one_run_each(sizes, data) -> None:
    runs = data.draw(st.lists(st.integers(0, 4), min_size=len(sizes), max_size=len(sizes)))
    rows, width = filled_layout(sizes, runs)
    assert sorted(i for row in rows for i in row) == list(range(len(sizes)))
    assert width % 64 == 0 and width >= max(sizes)
    for row in rows:
        assert len({runs[i] for i in row}) == 1 and sum(sizes[i] for i in row) <= width
    for run in set(runs):  # no two rows of a run would fit into one
        sums = sorted(sum(sizes[i] for i in row) for row in rows if runs[row[0]] == run)
        assert len(sums) < 2 or sums[0] + sums[1] > width


@given(widths)
def test_bounds_cover_a_filled_row_and_their_number_depends_on_the_shape_alone(sizes) -> None:
    count, tokens = filled_count(len(sizes)), filled_tokens(sum(sizes))
    longest = -(-max(sizes) // 64) * 64
    bounds = filled_bounds(sizes, count, tokens, longest)
    assert bounds[0] == 0 and bounds[-1] == tokens and (np.diff(bounds) >= 0).all()
    assert np.diff(bounds)[: len(sizes)].tolist() == sizes and np.diff(bounds).max() <= longest
    other = filled_bounds([1] * count, count, tokens, longest)
    assert len(other) == len(bounds)


@given(st.integers(1, 10_000))
def test_filling_up_adds_little(count: int) -> None:
    assert count <= filled_count(count) <= max(16, count * 1.125)
    assert count <= filled_tokens(count) <= count * (1 + 1 / 16) + 64


@given(widths, st.integers(20, 2000))
def test_micro_batches_of_filled_rows_keep_the_order_and_the_budget(sizes, budget) -> None:
    found = filling(sizes, budget)
    assert np.concatenate(found).tolist() == list(range(len(sizes)))
    most = max(sum(sizes[i] for i in piece) for piece in found)
    assert most <= budget + max(sizes)


@given(widths, st.integers(64, 2000), st.data())
def test_rows_of_a_micro_batch_are_within_the_budget_with_their_fill_up(sizes, budget, data):
    owners = data.draw(st.lists(st.integers(0, 9), min_size=len(sizes), max_size=len(sizes)))
    runs = np.sort(np.array(owners))
    for piece in filling(sizes, budget, runs):
        assert len(piece) == 1 or filled_size([sizes[i] for i in piece], runs[piece]) <= budget


def test_a_long_example_does_not_make_the_rows_of_other_runs_long_beyond_the_budget() -> None:
    found = Cutting(None, 1e9, True).pieces([512] + [20] * 63, 20, 4096, range(64))
    assert len(found) > 1 and np.concatenate(found).tolist() == list(range(64))
    assert all(filled_size([532 if i == 0 else 40 for i in p], p) <= 4096 for p in found)


@pytest.mark.parametrize("runs", [[0], [0, 1], [0, 0, 1, 1]])
def test_rows_are_no_longer_than_all_examples_of_a_run(runs: list[int]) -> None:
    rows, width = filled_layout([100] * len(runs), runs)
    assert width == -(-100 * runs.count(0) // 64) * 64 and len(rows) == len(set(runs))


def test_an_example_of_a_filled_micro_batch_is_never_left_without_place() -> None:
    model = factory.tiny_decoder(torch.float32)
    ids = np.arange(2, 9)
    batch = model.pack([Encoded(ids, np.array([3, 1]))] * 17, Packing(4, 1e9, True, (0,) * 17))
    assert batch.ids.shape[0] == filled_count(17) == 18 and batch.label_mask.sum() == 34


def few_positions(limit: int) -> decoder_only.DecoderOnly:
    """A GPT-2 with a short table of positions."""
    config = transformers.GPT2Config(
        vocab_size=40, n_embd=16, n_layer=1, n_head=2, n_positions=limit, bos_token_id=0,
        eos_token_id=1, resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0,
    )  # fmt: skip
    model = transformers.GPT2LMHeadModel(config).double()
    return decoder_only.DecoderOnly(model, factory.Numbers(), "gpt2", "0")


def of_lengths(*lengths: tuple[int, int]) -> list[Encoded]:
    """Examples with so many tokens of input and answer."""
    rng = np.random.default_rng(0)
    return [Encoded(*(rng.integers(2, 40, count) for count in both)) for both in lengths]


def assert_filled_as_padded(model: Backbone, examples: list[Encoded]) -> None:
    """Filled up, examples have the loss that they have padded."""
    torch.manual_seed(0)
    prompts = torch.randn(len(examples), 4, factory.WIDTH, dtype=torch.float64)
    batch = model.batch_of(examples, Packing(4, 1e9, True))
    more = prompts[:1].expand(len(batch.ids) - len(examples), -1, -1)
    found = model.loss(torch.cat([prompts, more]), batch)[0][: len(examples)]
    assert torch.allclose(found, model.loss(prompts, model.collate(examples))[0], atol=1e-9)


def test_rows_that_are_filled_up_may_be_longer_than_the_positions_of_their_examples() -> None:
    model = few_positions(100)
    assert model.packs
    assert_filled_as_padded(model, of_lengths((70, 2), (40, 2), (40, 1)))
    with pytest.raises(ConfigError, match="101 tokens exceed the 100 positions"):
        model.batch_of(of_lengths((96, 2)), Packing(4, 1e9, True))


def test_an_example_that_takes_the_last_position_has_a_filled_row() -> None:
    model = few_positions(100)
    model.__dict__["packs"] = False
    assert_filled_as_padded(model, of_lengths((95, 2), (20, 2)))


@pytest.mark.parametrize(("start", "longest"), [([0], 20), ([0, 7], 19)])
def test_answers_are_filled_up_within_the_positions_of_a_decoder(start, longest) -> None:
    config = transformers.BartConfig(
        vocab_size=40, d_model=factory.WIDTH, encoder_layers=1, decoder_layers=1,
        encoder_attention_heads=2, decoder_attention_heads=2, encoder_ffn_dim=32,
        decoder_ffn_dim=32, max_position_embeddings=20, bos_token_id=0, eos_token_id=1,
    )  # fmt: skip
    model = transformers.BartForConditionalGeneration(config).double()
    backbone = EncoderDecoder(model, factory.Numbers(), "bart", "0")
    backbone.start = start
    assert not backbone.packs
    assert_filled_as_padded(backbone, of_lengths((9, longest), (5, 2)))


@pytest.mark.parametrize("recorded", [True, False])
@pytest.mark.parametrize("family", [factory.tiny_backbone, factory.tiny_decoder])
def test_fill_up_weighs_nothing(family: Callable[..., Backbone], recorded: bool) -> None:
    examples, owner = factory.rows(37, 3), np.arange(37) % 3
    targets = np.bincount(owner, [len(e.target) for e in examples])
    found = []
    for made, cutting in ((family(), PADDED), (family(), Cutting(None, 1.0, True))):
        if recorded and cutting.filled:
            graphed(made)
        torch.manual_seed(0)
        leaf = torch.randn(3, 4, factory.WIDTH, dtype=torch.float64, requires_grad=True)
        assert cutting.filling(37) == (3 if cutting.filled else 0)
        loss = accumulate(made, leaf, examples, owner, targets, 10**6, cutting=cutting)
        found.append((loss, leaf.grad))
    for ours, theirs in zip(*found, strict=True):
        assert torch.allclose(ours, theirs, atol=1e-9)


def test_a_shape_of_a_cohort_that_is_over_makes_room_for_another(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(graphs, "SHAPES", 2)
    monkeypatch.setattr(graphs, "UNUSED", 6)
    model = graphed(factory.tiny_decoder(torch.float32))
    assert model.passes is not None

    def passed(count: int, times: int) -> int:
        batch = model.collate(factory.rows(count, 3))
        before = model.passes.replayed  # type: ignore[union-attr]
        for _ in range(times):
            model.passes(torch.zeros(count, 4, factory.WIDTH), batch, torch.ones(count))  # type: ignore[misc]
        return model.passes.replayed - before  # type: ignore[union-attr]

    assert passed(1, 3) == 2 and passed(2, 3) == 2 and len(model.passes) == 2
    assert passed(3, 3) == 0  # both were used a moment ago
    assert passed(2, 2) == 2 and passed(3, 2) == 2 and len(model.passes) == 2
    assert passed(2, 2) == 2
