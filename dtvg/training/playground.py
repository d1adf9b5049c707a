"""The process behind the playground: loads a backbone once and answers with runs' prompts.

`python -m dtvg.training.playground FOLDER` is started by `dtvg.jobs.playground`; it ends when
nothing was asked for `IDLE_SECONDS`. docs/prompts.md "Playground".
"""

from __future__ import annotations

import contextlib
import logging
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from pydantic import ValidationError
from torch import Tensor

from dtvg.backbones.base import Backbone
from dtvg.backbones.loading import load_backbone
from dtvg.config import RunConfig
from dtvg.errors import ConfigError, DtvgError, unknown
from dtvg.methods.base import HELD, Inputs, MethodState, find_method
from dtvg.store import playground
from dtvg.store.files import locked, replace_json
from dtvg.store.playground import Answered, Asked, Prompted, Told
from dtvg.store.reader import Run, open_run, read_prompts, read_provenance
from dtvg.tasks.catalogue import find_task
from dtvg.tasks.labels import label_words, with_words
from dtvg.tasks.spec import TaskSpec
from dtvg.training.agreement import asked_of
from dtvg.training.batches import with_room
from dtvg.training.devices import device_named, pick_device, set_threads
from dtvg.training.engine import choose_precision
from dtvg.training.instance import Composer, with_parameters
from dtvg.training.recorded import backbone_of, with_recorded_splits

log = logging.getLogger(__name__)
IDLE_SECONDS = 300.0
LOOK_SECONDS = 0.05
NEAR = 1e-4
"""A prompt composed again may differ from the stored one by this share of its largest entry."""


@dataclass
class Playground:
    """The backbone that was asked last, and prompts that were read."""

    _key: tuple[object, ...] = ()
    _backbone: Backbone | None = None
    loads: int = 0
    """Backbones loaded so far."""
    _read: dict[tuple[str, str], Tensor | Composer] = field(default_factory=dict)

    def answer(self, asked: Asked) -> Answered:
        """Answer one question; what cannot be asked says why."""
        started = time.perf_counter()
        told = []
        for prompted in asked.prompts:
            try:
                told.append(self._told(prompted, asked.text))
            except DtvgError as error:
                told.append(Told(refused=str(error)))
        return Answered(told=told, seconds=time.perf_counter() - started)

    def _told(self, prompted: Prompted, text: str) -> Told:
        run = open_run(Path(prompted.run))
        config = run.config
        if config is None:
            raise ConfigError(f"Run '{run.name}' has no readable configuration.")
        config = with_recorded_splits(config)
        backbone = self._loaded(run, config)
        prompt, group = prompt_of(run, config, prompted.without, backbone.device)
        spec = find_task(config.target)
        spec = with_words(spec, label_words(spec, config.data.labels, config.data.label_words))
        return _answer(backbone, prompt, config, spec, text, group)

    def _loaded(self, run: Run, config: RunConfig) -> Backbone:
        """Return the run's backbone; the one before is let go where it is another."""
        place = device_named("auto", config.device.precision)
        device = pick_device(place)
        precision = str(read_provenance(run).get("engine", {}).get("precision", ""))
        precision = precision or choose_precision(place, device).precision
        named = backbone_of(run, config)
        key = (repr(named), str(device), precision, config.data.template)
        if self._backbone is None or key != self._key:
            self._backbone = None
            set_threads(place)
            self._backbone = load_backbone(named, str(device), precision, config.data.template)
            self._backbone.training(False)
            self._key, self.loads = key, self.loads + 1
        return self._backbone


def prompt_of(
    run: Run, config: RunConfig, without: str, device: torch.device
) -> tuple[Tensor | Composer, list[str] | None]:
    """Return a run's best prompt, maybe with one source's vector taken out, and its group.

    Args:
        run: one that has finished.
        config: its configuration.
        without: a source; empty: the prompt as it is.
        device: where it goes.

    Raises:
        StoreError: the run keeps no prompts, or has not finished.
        ConfigError: its method merges no sources by a group, or keeps its group from earlier
            steps, so that the prompt cannot be composed again.
    """
    tensors = read_prompts(run, "best")
    whole = asked_of(run, config, tensors, device)
    composed = _composed(run, config, tensors)
    if composed is None or isinstance(whole, Composer):
        if without:
            raise ConfigError(
                f"Run '{run.name}' ({run.method}) does not merge a group of sources that can be "
                "composed again, so no source can be taken out; choose a finished run of 'dtvg'."
            )
        return whole, None
    if not without:
        return whole, [s for s, m in zip(config.sources, composed.group, strict=True) if m]
    if without not in config.sources:
        raise ConfigError(unknown(f"source of run '{run.name}'", without, config.sources))
    place = config.sources.index(without)
    member = composed.group.copy()
    member[place] = False
    names = [s for s, m in zip(config.sources, member, strict=True) if m]
    return composed.without(place).to(whole), names


@dataclass(frozen=True)
class _Composed:
    """A run's method with its trained tensors, ready to be composed with a source held out."""

    method: object
    state: MethodState
    group: np.ndarray

    def without(self, place: int) -> Tensor:
        """Return the mixed prompt without the scaled vector of one source."""
        held = self.state.memory[HELD].clone()
        held[0, place] = -1
        state = replace(self.state, memory={**self.state.memory, HELD: held})
        with torch.no_grad():
            return self.method.forward(state).prompt[0]  # type: ignore[attr-defined,no-any-return]


def _composed(run: Run, config: RunConfig, tensors: Mapping[str, np.ndarray]) -> _Composed | None:
    """Compose a run's prompt again; None where that does not give the stored one."""
    if not config.method.can_hold:
        return None
    method = find_method(config.method, config.versions)
    try:
        start = read_prompts(run, "initial")
        names = ("init", "target_prompt", "source_vectors")
        inputs = {name: torch.as_tensor(start[name])[None].float() for name in names}
    except (DtvgError, KeyError):
        return None  # a thinned log keeps the best prompts alone
    own = Inputs(
        inputs["init"],
        inputs["target_prompt"],
        inputs["source_vectors"],
        source_names=(config.sources,),
        seeds=(config.seed,),
        targets=(config.target,),
    )
    moved = {name: torch.as_tensor(value) for name, value in tensors.items()}
    state = with_parameters(method.prepare(own), moved)
    if HELD not in state.memory:
        return None
    with torch.no_grad():
        step = method.forward(state)
    stored = moved["mixed_prompt"].float()
    if step.weights is None or not _near(step.prompt[0].float(), stored):
        return None
    return _Composed(method, state, step.weights[0].numpy() > 0)


def _near(one: Tensor, other: Tensor) -> bool:
    return bool((one - other).abs().max() <= NEAR * other.abs().max().clamp(min=1e-12))


@torch.no_grad()
def _answer(
    backbone: Backbone,
    prompt: Tensor | Composer,
    config: RunConfig,
    spec: TaskSpec,
    text: str,
    group: list[str] | None,
) -> Told:
    """Ask one prompt."""
    spec = with_room(spec, backbone)
    limit = spec.max_target_tokens
    (encoded,) = backbone.encode([text], [""], config.data.max_source_tokens, limit)
    sources = [encoded.source]
    mixed = prompt.prompts(backbone, sources) if isinstance(prompt, Composer) else prompt[None]
    mixed = mixed.to(backbone.device)
    (said,) = backbone.generate(mixed, sources, limit)
    shares: dict[str, float] = {}
    if spec.labels:
        labels = backbone.label_set(spec.labels, limit)
        scores = backbone.label_scores(mixed, sources, labels).double().softmax(-1)[0]
        shares = {
            word: float(share) for word, share in zip(spec.labels, scores.tolist(), strict=True)
        }
    return Told(answer=said, labels=shares, group=group)


def serve(place: Path, idle_seconds: float = IDLE_SECONDS) -> None:
    """Answer what is asked in a folder until nothing was asked for a while.

    Args:
        place: the playground's folder.
        idle_seconds: how long to wait for another question.
    """
    with locked(playground.lock_of(place), wait=False) as ours:
        if not ours:
            return  # another one lives
        made, last = Playground(), time.monotonic()
        while time.monotonic() - last < idle_seconds:
            for path in sorted(playground.asked_in(place).glob("*.json")):
                last = time.monotonic()
                _serve_one(made, place, path)
                last = time.monotonic()
            time.sleep(LOOK_SECONDS)


def _serve_one(made: Playground, place: Path, path: Path) -> None:
    try:
        answered = made.answer(Asked.model_validate_json(path.read_bytes(), strict=True))
    except FileNotFoundError:
        return  # whoever asked has given up
    except ValidationError as error:
        answered = Answered(refused=f"The question cannot be read ({error.error_count()} errors).")
    except Exception as error:  # noqa: BLE001 - one question must not end the process
        log.exception("a question failed")
        answered = Answered(refused=f"It could not be answered ({error}).")
    replace_json(playground.answered_in(place) / path.name, answered.model_dump(), durable=False)
    with contextlib.suppress(OSError):
        path.unlink()


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")
    serve(Path(sys.argv[1]))
