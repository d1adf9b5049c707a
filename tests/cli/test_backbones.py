"""`dtvg backbones`: a table, and an exit status one can build on."""

from __future__ import annotations

from pathlib import Path

import pytest

from dtvg.cli import main
from dtvg.testing.tiny_backbones import save_backbone


def test_a_folder_that_keeps_the_contract_exits_with_zero(tmp_path: Path, capsys) -> None:
    folder = save_backbone("qwen3", tmp_path)
    assert main(["backbones", "check", str(folder), "--device", "cpu"]) == 0
    shown = capsys.readouterr().out
    assert "passes every check of the contract" in shown and "FAIL" not in shown


def test_a_broken_backbone_exits_with_one(tmp_path: Path, capsys, monkeypatch) -> None:
    from dtvg.backbones.decoder_only import DecoderOnly

    folder = save_backbone("llama", tmp_path)
    monkeypatch.setattr(DecoderOnly, "embed", lambda self, ids: self._input_embeddings()(ids) * 2)
    assert main(["backbones", "check", str(folder), "--device", "cpu"]) == 1
    assert "FAILS embedding_lookup" in capsys.readouterr().out


@pytest.mark.parametrize("arguments", [["check", "t5-base"], ["check", "demo", "--device", "x"]])
def test_what_cannot_be_is_answered_with_a_sentence(arguments: list[str], capsys) -> None:
    assert main(["backbones", *arguments]) == 2
    assert "Traceback" not in capsys.readouterr().err


def test_the_list_names_every_backbone_whole(capsys) -> None:
    from dtvg.backbones.specs import BACKBONES

    assert main(["backbones", "list"]) == 0
    shown = capsys.readouterr().out
    assert [name for name in BACKBONES if name not in shown] == []
