"""TensorBoard: event files under `mirrors/tensorboard/<run>`, one per process that trained it."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Sequence
from pathlib import Path

from tensorboard.backend.event_processing.event_file_loader import EventFileLoader
from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.summary.writer.record_writer import RecordWriter

from dtvg.mirrors.adapter import Facts, Row, Stored


class TensorBoard:
    """Writes event files; a batch is appended and the file closed again."""

    def __init__(self) -> None:
        self._files: dict[str, Path] = {}

    def open(self, facts: Facts, known: str | None) -> str:
        """Choose the folder of a run; one that was trained anew gets another."""
        root = facts.folder / "tensorboard"
        name, number = known or facts.run, 1
        while known is None and (root / name).exists():
            number += 1
            name = f"{facts.run}-{number}"
        folder = root / name
        folder.mkdir(parents=True, exist_ok=True)
        stem = f"events.out.tfevents.{time.time_ns() // 1000:017d}.{socket.gethostname()}"
        self._files[name] = folder / f"{stem}.{os.getpid()}"
        return name

    def write(self, key: str, rows: Sequence[Row]) -> None:
        """Append events; one per step, with all its scalars."""
        path = self._files[key]
        fresh = not path.exists()
        with path.open("ab") as file:
            writer = RecordWriter(file)
            if fresh:
                event = Event(wall_time=rows[0].time, file_version="brain.Event:2")
                writer.write(event.SerializeToString())
            for row in rows:
                values = [Summary.Value(tag=k, simple_value=v) for k, v in row.values.items()]
                event = Event(wall_time=row.time, step=row.step, summary=Summary(value=values))
                writer.write(event.SerializeToString())
            writer.flush()

    def stored(self, key: str) -> Stored:
        """Read back what the folder holds."""
        found: Stored = set()
        for path in sorted(self._files[key].parent.glob("events.out.tfevents.*")):
            for event in EventFileLoader(str(path)).Load():
                found |= {(event.step, value.tag) for value in event.summary.value}
        return found

    def close(self, key: str, finished: bool) -> None:
        """Forget the file."""
        self._files.pop(key, None)
