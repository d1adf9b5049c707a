"""What the model libraries raise, said in one sentence. Imports neither torch nor transformers."""

from __future__ import annotations


def sentence(name: str, what: str, error: BaseException, verb: str = "loaded") -> str:
    """Say why a backbone cannot be loaded (or fetched), and what to do about it.

    Args:
        name: the backbone's.
        what: the part that was being read, e.g. "its weights".
        error: what a library raised.
        verb: what was tried.
    """
    kinds: set[str] = set()
    texts: list[str] = []
    seen: BaseException | None = error
    while seen is not None and len(texts) < 10:
        kinds |= {kind.__name__ for kind in type(seen).__mro__}
        texts.append(str(seen).lower())
        seen = seen.__cause__ or seen.__context__
    text = " ".join(texts)
    start = f"Backbone '{name}' cannot be {verb}: "
    if "GatedRepoError" in kinds or "gated repo" in text:
        return (
            f"{start}it is gated. Accept its licence on https://huggingface.co/{name}, then log in "
            "with `hf auth login`."
        )
    if "RepositoryNotFoundError" in kinds or "is not a valid model identifier" in text:
        return (
            f"{start}the hub has no such model, or it is private. Check the spelling; for a "
            f"private one log in with `hf auth login`.{_folder(name)}"
        )
    unreachable = {"OfflineModeIsEnabled", "ConnectError", "ConnectionError", "TimeoutException"}
    if kinds & unreachable or "couldn't connect to" in text or "offline mode" in text:
        return (
            f"{start}the hub cannot be reached and {what} is not in the cache of this machine. Go "
            f"online once (`hf download {name}`), or give a folder written by save_pretrained."
            f"{_folder(name)}"
        )
    if "trust_remote_code" in text:
        return (
            f"{start}it needs its own code to run, and code from the hub is never run here. Choose "
            "a model whose architecture is part of transformers."
        )
    reason = " ".join(str(error).split())[:300].rstrip(".")
    return (
        f"{start}{what} cannot be read ({reason}). Give a folder written by save_pretrained, or a "
        "hub id."
    )


def _folder(name: str) -> str:
    """Say where a folder of that name would have been found."""
    return f" If '{name}' is a folder, name its whole path, or call this from the folder around it."
