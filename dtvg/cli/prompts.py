"""`dtvg prompts list|show|verify|import|export`: the bank of tuned task prompts."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dtvg.cli.places import RUNS_DIR

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np

    from dtvg.exchange.outgoing import Outgoing


def add(commands: Any) -> None:
    """Add the `prompts` group to the command line."""
    group = commands.add_parser("prompts", help="list, check, import and export tuned task prompts")
    actions = group.add_subparsers(dest="action", required=True, metavar="ACTION")
    listing = actions.add_parser("list", help="every prompt with task, seed, score and health")
    listing.set_defaults(do=list_prompts)
    showing = actions.add_parser("show", help="one prompt in full")
    showing.add_argument("identity", help="its identity, or the beginning of it")
    showing.set_defaults(do=show_prompt)
    checking = actions.add_parser("verify", help="check every entry of the bank")
    checking.set_defaults(do=verify_prompts)
    _add_import(actions)
    out = actions.add_parser("export", help="write a PEFT adapter folder with a model card")
    out.add_argument("what", help="identity of a prompt of the bank, or EXPERIMENT/RUN")
    out.add_argument("--out", type=Path, required=True, help="folder to write")
    out.add_argument("--which", help="of a run: best (the default), final, initial or source:NAME")
    out.add_argument("--runs-dir", type=Path, help=RUNS_DIR)
    out.set_defaults(do=export_prompt)


def _add_import(actions: Any) -> None:
    made = actions.add_parser(
        "import",
        help="import a prompt into the bank: PEFT folder, .safetensors, or .pt (ATTEMPT, DTVG)",
    )
    made.add_argument("path", type=Path, help="PEFT adapter folder, .zip, .safetensors, .pt file")
    made.add_argument(
        "--task", default="", help="task it was tuned on (default: what our own export says)"
    )
    made.add_argument(
        "--init", type=Path, help="its initial prompt; without it the prompt has no vector"
    )
    made.add_argument("--backbone", help="its backbone (default: what the adapter says)")
    made.add_argument("--revision", default="", help="the backbone's revision, where known")
    made.add_argument("--seed", type=int, default=0, help="seed it belongs to (default 0)")
    made.add_argument("--score", type=float, help="validation score, 0..1")
    made.add_argument(
        "--part",
        help="name of the tensor, place in a stack [n, r, d], place of a task (multi-task "
        "prompt tuning), or 'encoder' for that half of a prompt for encoder and decoder",
    )
    made.set_defaults(do=import_prompt)


def list_prompts(arguments: argparse.Namespace) -> int:
    """Print one line per prompt."""
    from dtvg.analysis.prompts import bank_info
    from dtvg.cli.terminal import print_rows
    from dtvg.store.bank import PromptBank

    bank = PromptBank()
    info = bank_info(bank.list())
    if info.table.empty:
        print(f"The prompt bank '{bank.root}' is empty; the first experiment fills it.")
        return 0
    rows = []
    for row in info.table.to_dict("records"):
        norm, score = row["vector_norm"], row["score"]
        rows.append(
            (
                row["task"],
                str(row["seed"]),
                "–" if score != score else f"{score:.4f}",
                str(row["length"]),
                "–" if norm != norm else f"{norm:.3g}",
                row["health"],
                row["backbone"],
                row["identity"],
            )
        )
    headings = ("task", "seed", "score", "length", "‖vector‖", "health", "backbone", "identity")
    print_rows(headings, rows, wrapped=("health",))
    return 0


def show_prompt(arguments: argparse.Namespace) -> int:
    """Print everything known about one prompt."""
    from dtvg.analysis.prompts import bank_info
    from dtvg.store.bank import PromptBank

    prompt = PromptBank().get(arguments.identity)
    facts: dict[str, Any] = dict(bank_info([prompt]).table.iloc[0])
    facts.update({"metrics": prompt.metric_values}, **prompt.settings)
    for name, value in facts.items():
        print(f"{name:20}{value}")
    return 0


def verify_prompts(arguments: argparse.Namespace) -> int:
    """Print what is wrong with entries of the bank; 1 if anything is."""
    from dtvg.analysis.words import counted
    from dtvg.store.bank import PromptBank

    bank = PromptBank()
    found = bank.check()
    problems = {name: text for name, text in found.items() if text is not None}
    for name, text in problems.items():
        print(f"{name}: {text}")
    print(f"{counted(len(found), 'prompt')} in '{bank.root}', {len(problems)} with problems")
    return 1 if problems else 0


def import_prompt(arguments: argparse.Namespace) -> int:
    """Import one prompt."""
    from dtvg.analysis.words import counted
    from dtvg.backbones.specs import facts
    from dtvg.exchange.incoming import Import
    from dtvg.exchange.incoming import import_prompt as take
    from dtvg.store.bank import PromptBank

    asked = Import(
        path=arguments.path,
        task=arguments.task,
        init=arguments.init,
        backbone=arguments.backbone,
        revision=arguments.revision,
        seed=arguments.seed,
        score=arguments.score,
        part=arguments.part,
    )
    bank = PromptBank()
    made = take(asked, bank, _read_pickled)
    vector = "with its vector" if made.init is not None else "without a vector (no --init)"
    length, width = made.prompt.shape
    print(
        f"{made.task}: {counted(length, 'token')} of width {width} for {made.backbone}, {vector}; "
        f"identity {made.fingerprint}"
    )
    print(_unknown_task(made.task), end="")
    if facts(made.backbone) is None:
        print(
            f"The sizes of '{made.backbone}' are not known on this machine, so the width {width} "
            "was not compared with its embeddings."
        )
    print(f"{made.origin[:1].upper()}{made.origin[1:]}.")
    return 0


def _unknown_task(name: str) -> str:
    """Return a line where no such task is known: it may be somebody's own, or a slip."""
    from dtvg.errors import nearest
    from dtvg.tasks.catalogue import all_tasks

    known = all_tasks()
    if name in known:
        return ""
    match = nearest(name, known)
    hint = f" Did you mean '{match}'?" if match else ""
    return (
        f"Note: no task '{name}' is known here.{hint} The prompt is kept under this name; "
        "`dtvg tasks list` prints the tasks that are known.\n"
    )


def _read_pickled(path: Path) -> Mapping[str, np.ndarray]:
    """Read a file of torch's own; torch is loaded only for that."""
    from dtvg.backbones.pickled import read_pickled

    return read_pickled(path)


def export_prompt(arguments: argparse.Namespace) -> int:
    """Export one prompt."""
    from dtvg.cli.out import check_parent
    from dtvg.errors import ConfigError
    from dtvg.exchange.outgoing import export

    check_parent(arguments.out)
    if arguments.out.is_file():
        raise ConfigError(f"'{arguments.out}' is a file; --out takes the folder to write.")
    folder = export(_chosen(arguments), arguments.out)
    print(f"Adapter and model card are in {folder}; PeftModel.from_pretrained loads it.")
    return 0


def _chosen(arguments: argparse.Namespace) -> Outgoing:
    """Return the run's or the bank's prompt that was named."""
    from dtvg.cli.places import locate
    from dtvg.errors import ConfigError
    from dtvg.exchange.outgoing import from_bank, from_run
    from dtvg.store.bank import PromptBank
    from dtvg.store.reader import open_run

    if "/" not in arguments.what:
        if arguments.which:
            raise ConfigError(
                "--which chooses a prompt of a run, and one of the bank is what it is; leave "
                "--which out, or name EXPERIMENT/RUN."
            )
        return from_bank(PromptBank().get(arguments.what))
    experiment, name = locate(arguments.what, arguments.runs_dir)
    if name is None:
        raise ConfigError(f"'{arguments.what}' is an experiment; name a run: EXPERIMENT/RUN.")
    return from_run(open_run(experiment.path / name), arguments.which or "best")
