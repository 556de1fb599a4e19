"""From what a user calls a teacher, a folder or a name of the hub, to a folder on this machine."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

from xdistil.data.paths import AnyPath, as_path, is_remote, local_folder
from xdistil.errors import InputError

# All that a checkpoint and its tokenizer need; never a pickle.
_FILES = [
    *("config.json", "*.safetensors", "*.safetensors.index.json"),
    *("tokenizer*", "special_tokens_map.json", "*.txt", "vocab.json"),
    # Of no use here, but where they are all that there is the error says what to make of them.
    *("spiece.model", "sentencepiece.bpe.model"),
]
_HUB_NAME = re.compile(r"[\w.-]+(/[\w.-]+)?")


def find_checkpoint(preset: str | os.PathLike[str]) -> AnyPath:
    """The folder of a checkpoint; a name of the hub is fetched, once, into the hub's own cache.

    Args:
        preset: A folder, or a name on the Hugging Face hub such as `owner/model`.

    Raises:
        InputError: neither such a folder nor a model that could be fetched.
    """
    name = os.fspath(preset)
    if not name:
        raise InputError("no teacher named: expected a checkpoint's folder or a name of the hub")
    folder = as_path(name).expanduser()
    if folder.is_dir():
        return local_folder(folder)
    if folder.exists():
        raise InputError(
            f"{preset}: is a file; expected a checkpoint's folder or a name of the hub"
        )
    if is_remote(folder) or not _HUB_NAME.fullmatch(name) or name.startswith("."):
        raise InputError(f"{preset}: no such folder; expected a checkpoint's folder")
    return _fetch(name)


def only_a_pickle(where: object, architectures: object) -> InputError:
    """The refusal of a checkpoint without safetensors, with the line that makes them.

    Args:
        where: Its folder or its name on the hub.
        architectures: What its config.json says under that key.
    """
    names = [architectures] if isinstance(architectures, str) else architectures
    first = names[0] if isinstance(names, list) and names else None
    # Another class than its own would leave weights out, or make up a head.
    loader = first if isinstance(first, str) and first.isidentifier() else "AutoModel"
    note = " (AutoModel keeps a pooler, in place of that head)" * loader.endswith("ForMaskedLM")
    return InputError(
        f"{where}: holds only pytorch_model.bin, a pickle, which can run code when read; expected "
        "model.safetensors; convert it where PyTorch and transformers are installed: "
        f"transformers.{loader}.from_pretrained({str(where)!r}).save_pretrained(folder){note}"
    )


def _fetch(name: str) -> AnyPath:
    try:
        import huggingface_hub
        from huggingface_hub.errors import EntryNotFoundError, HfHubHTTPError, HFValidationError
    except ImportError:
        raise InputError(
            f"{name}: no such folder, and to fetch models of that name huggingface_hub is needed: "
            "pip install xdistil[hub]"
        ) from None
    try:
        folder = Path(huggingface_hub.snapshot_download(name, allow_patterns=_FILES))
        if any(folder.glob("*.safetensors")):
            return folder
    except HFValidationError:
        raise InputError(
            f"{name}: no such folder, and no valid name of the hub; expected owner/model"
        ) from None
    # Offline is an OSError in each version: ConnectionError, or of the HTTP client's own kind.
    except (HfHubHTTPError, EntryNotFoundError, OSError) as error:
        reason = " ".join(str(error).split())[:200]
        raise InputError(
            f"{name}: no such folder, and the hub gave no model of that name "
            f"({type(error).__name__}: {reason}); check the name and the connection, or give a "
            "folder"
        ) from None
    try:
        files = huggingface_hub.list_repo_files(name)
    except (HfHubHTTPError, OSError):  # what is in the cache says enough
        files = []
    if any(re.fullmatch(r"pytorch_model.*\.bin", file) for file in files):
        raise only_a_pickle(name, _architectures(folder / "config.json"))
    return folder


def _architectures(config: AnyPath) -> object:
    try:
        content = json.loads(config.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return content.get("architectures") if isinstance(content, dict) else None
