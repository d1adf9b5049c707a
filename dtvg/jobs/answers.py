"""What of an experiment's tasks its backbone cannot write or read, and splits that differ.

Asked before a start, on the launch page and by `--dry-run`; the tokenizer's file is enough. Rows
are looked at only where that is quick: where the cache has them, or where their files are small.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from dtvg.backbones.specs import speech_of, tokenizer_stamp
from dtvg.backbones.speech import RoundTrip, Speech, round_trip
from dtvg.config import ExperimentConfig
from dtvg.config.sections import DataConfig
from dtvg.errors import DtvgError
from dtvg.tasks.catalogue import find_task
from dtvg.tasks.labels import label_words, with_words
from dtvg.tasks.reading import TaskData, is_kept, load_spec
from dtvg.tasks.sources import find_folder, has_test, look_for, signature
from dtvg.tasks.spec import TaskSpec
from dtvg.tasks.splits import with_rule, without_test

QUICK_BYTES = 8 << 20
"""Files of a task up to which its rows are read before a start."""
_TRIPS: dict[tuple[str, ...], RoundTrip] = {}


@dataclass(frozen=True)
class TaskNote:
    """Something to know about one task of an experiment before it starts."""

    setting: str
    """`sources` or `targets`."""
    place: int
    """Of the task in that setting."""
    sentence: str


def task_notes(config: ExperimentConfig) -> list[TaskNote]:
    """Say what is worth knowing about each task with this backbone; nothing where all is well.

    Tasks and backbones that cannot be read here are passed over: others say so.
    """
    try:
        speech: Speech | None = speech_of(config.backbone.name)
    except DtvgError:
        speech = None
    found = []
    said: set[str] = set()
    for setting, names in (("sources", config.sources), ("targets", config.targets)):
        for place, name in enumerate(names):
            for sentence in _of_task(name, config.data, speech):
                if sentence not in said:
                    found.append(TaskNote(setting, place, sentence))
                said.add(sentence)
    return found


def _of_task(name: str, data: DataConfig, speech: Speech | None) -> list[str]:
    try:
        spec = with_rule(find_task(name), data.split_rules)
        words = label_words(spec, data.labels, data.label_words)
        folder = find_folder(spec, data.folder)
    except DtvgError:
        return []
    sentences = []
    if spec.split.rule == "official" and data.split != "official" and folder is not None:
        if look_for(spec, folder).in_folder and not has_test(spec, folder):
            note = without_test(spec)
            sentences.append(f"{note[:1].upper()}{note[1:]}.")
    if speech is not None:
        trip = _trip(with_words(spec, words), speech, quick_rows(spec, data, folder))
        sentences += trip.sentences()
    return sentences


def quick_rows(spec: TaskSpec, data: DataConfig, folder: Path | None) -> TaskData | None:
    """Return a task's rows where reading them is quick, else None.

    Args:
        spec: the task, with the split rule of `data`.
        data: the experiment's.
        folder: as `find_folder` returns it.
    """
    try:
        quick = is_kept(spec, data)
        if not quick and folder is not None and look_for(spec, folder).in_folder:
            quick = sum(size for _, size, _ in signature(spec, folder)) <= QUICK_BYTES
        return load_spec(spec, data) if quick else None
    except DtvgError:
        return None


def trip_of(data: TaskData, backbone: str) -> RoundTrip:
    """Return the round trip of a task's labels and of a sample of its rows.

    Args:
        data: the task.
        backbone: whose tokenizer writes and reads.

    Raises:
        ConfigError: its tokenizer is not on disk.
    """
    return _trip(data.spec, speech_of(backbone), data)


def _trip(spec: TaskSpec, speech: Speech, data: TaskData | None) -> RoundTrip:
    """Return a task's round trip, made once per process and state of the files."""
    key = (
        speech.name,
        tokenizer_stamp(speech.name),
        spec.name,
        *spec.labels,
        data.fingerprint if data else "",
    )
    if key not in _TRIPS:
        _TRIPS[key] = round_trip(spec, speech, data.validation if data else ())
    return _TRIPS[key]
