"""Make data/examples from a finished experiment: `python tools/record_example.py RUN_FOLDER`.

Keeps what pages read (transfer runs, their tables, prompts and results), leaves out Stage I
runs, checkpoints and locks, and takes folders of the recording machine out of the provenance.
"""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def main(experiment: Path) -> None:
    """Copy an experiment's folder into data/examples, lean."""
    target = ROOT / "data" / "examples" / experiment.name
    shutil.rmtree(target, ignore_errors=True)
    leave_out = shutil.ignore_patterns("stage1*", "state.safetensors", "log.txt", ".*", "control")
    shutil.copytree(experiment, target, ignore=leave_out)
    for path in target.glob("*/provenance.json"):
        facts = json.loads(path.read_text())
        command = facts.get("argv", [])
        while "--runs-dir" in command:
            at = command.index("--runs-dir")
            del command[at : at + 2]
        path.write_text(json.dumps(facts, indent=1))
    runs = sum(1 for p in target.iterdir() if (p / "result.json").exists())
    size = sum(p.stat().st_size for p in target.rglob("*") if p.is_file())
    print(f"{runs} runs, {size / 1e6:.1f} MB in {target.relative_to(ROOT)}")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
