"""`dtvg backbones list|check`: which models there are, and whether one can be trusted."""

from __future__ import annotations

import argparse
from typing import Any


def add(commands: Any) -> None:
    """Add the `backbones` group to the command line."""
    group = commands.add_parser("backbones", help="list backbones, or check one")
    actions = group.add_subparsers(dest="action", required=True, metavar="ACTION")
    listing = actions.add_parser("list", help="well-known backbones with their sizes")
    listing.set_defaults(do=list_backbones)
    check = actions.add_parser("check", help="run the contract test on a backbone")
    check.add_argument("name", help="'demo', a hub id or a folder")
    check.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:0, ...")
    check.add_argument(
        "--precision",
        default="float32",
        choices=("float32", "bfloat16", "float16", "float64", "int8", "int4"),
    )
    check.add_argument("--revision", help="hub revision (commit, branch or tag)")
    check.set_defaults(do=check_backbone)


def list_backbones(arguments: argparse.Namespace) -> int:
    """Print one line per known backbone."""
    from rich.console import Console
    from rich.table import Table

    from dtvg.backbones.specs import BACKBONES, facts, on_disk

    kinds = {"encoder_decoder": "enc-dec", "decoder_only": "decoder"}
    table = Table("name", "family", "size", "d", "layers", "words", "files", box=None)
    table.columns[0].no_wrap = True
    for spec in BACKBONES.values():
        sizes = facts(spec.name)
        numbers = (sizes.width, sizes.layers, sizes.vocabulary) if sizes else ("", "", "")
        files = "on disk" if on_disk(spec.name) else "hub"
        shown = spec.parameters.replace(" ", "")
        table.add_row(spec.name, kinds[spec.family], shown, *map(str, numbers), files)
    Console().print(table)
    print("Any other hub id or folder of an encoder-decoder or decoder-only model works too.")
    return 0


def check_backbone(arguments: argparse.Namespace) -> int:
    """Load a backbone, measure the contract, print the table; 1 if a check fails."""
    from rich.console import Console
    from rich.table import Table

    from dtvg.backbones.loading import load_backbone
    from dtvg.config import BackboneConfig
    from dtvg.testing.backbones import run_contract
    from dtvg.training.devices import device_named, pick_device, set_threads

    place = device_named(arguments.device, arguments.precision)
    device = pick_device(place)
    set_threads(place)
    config = BackboneConfig(name=arguments.name, revision=arguments.revision)
    backbone = load_backbone(config, str(device), arguments.precision)
    results = run_contract(backbone)
    table = Table("check", "result", "measured", "allowed", "what", title=None)
    for result in results:
        measured = "" if result.measured != result.measured else f"{result.measured:.3g}"
        table.add_row(
            result.name.replace("_", " "),
            "[green]pass[/green]" if result.passed else "[bold red]FAIL[/bold red]",
            f"{measured} {result.unit}".strip(),
            "" if result.limit is None else f"{result.limit:.3g}",
            result.detail,
        )
    Console().print(table)
    failed = [r.name for r in results if not r.passed]
    kind = backbone.model.config.model_type
    told = f"{arguments.name}: {backbone.family.replace('_', '-')} '{kind}', d = {backbone.width}"
    told += f", {arguments.precision} on {device}"
    passed = "passes every check of the contract."
    print(f"{told}: {passed if not failed else 'FAILS ' + ', '.join(failed)}")
    return 1 if failed else 0
