"""The tokenizer of a checkpoint folder in hub format, without transformers."""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

from xdistil.data.lines import numbered_lines
from xdistil.errors import InputError

# What tokenizer_config.json calls the settings of BERT's normalizer, and what tokenizers does.
_NORMALIZER_SETTINGS = {
    "do_lower_case": "lowercase",
    "strip_accents": "strip_accents",
    "tokenize_chinese_chars": "handle_chinese_chars",
}


def read_tokenizer(folder: Path) -> tuple[Tokenizer, dict[str, Any]]:
    """Reads `tokenizer.json`, else `vocab.txt`, of a checkpoint folder.

    What `tokenizer_config.json` says of lower case, accents and Chinese characters holds, also
    where it contradicts `tokenizer.json`: so do transformers' fast tokenizers.

    Args:
        folder: a checkpoint folder as the hub has it.

    Returns:
        The tokenizer, and the content of `tokenizer_config.json` (with the special tokens of
        `special_tokens_map.json`, names written out as strings).

    Raises:
        InputError: the folder holds neither file, or one that is not what its name says.
    """
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder: give a checkpoint folder with its tokenizer")
    config = {
        **_read_json(folder / "special_tokens_map.json"),
        **_read_json(folder / "tokenizer_config.json"),
    }
    for key, value in config.items():
        if key.endswith("_token") and isinstance(value, dict):  # an AddedToken written out
            config[key] = value.get("content")
    if (folder / "tokenizer.json").is_file():
        tokenizer = _read_tokenizer_json(folder / "tokenizer.json")
        _apply_config(tokenizer, config)
    elif (folder / "vocab.txt").is_file():
        vocabulary = [piece for _, piece in numbered_lines(str(folder / "vocab.txt"))]
        if "do_lower_case" not in config and _has_capitals(vocabulary):
            warnings.warn(
                f"{folder}: vocab.txt has pieces with capitals, but nothing says that text keeps "
                'its case: write {"do_lower_case": false} into tokenizer_config.json',
                stacklevel=2,
            )
        tokenizer = build_wordpiece(vocabulary, config)
    else:
        raise InputError(
            f"{folder}: no tokenizer.json and no vocab.txt in it: give a checkpoint folder with "
            "its tokenizer"
        )
    return tokenizer, config


def build_wordpiece(vocabulary: Sequence[str], config: Mapping[str, Any]) -> Tokenizer:
    """BERT's tokenizer from its pieces, set up as transformers' `BertTokenizerFast` is.

    Args:
        vocabulary: the pieces in the order of their ids.
        config: settings by their names in `tokenizer_config.json`; all may be missing.

    Raises:
        InputError: the vocabulary holds no unknown token.
    """
    pieces = {piece: index for index, piece in enumerate(vocabulary)}
    unk = config.get("unk_token") or "[UNK]"
    if unk not in pieces:
        raise InputError(f"the vocabulary has no piece {unk}: give one that has")
    tokenizer = Tokenizer(models.WordPiece(pieces, unk_token=unk))
    tokenizer.normalizer = normalizers.BertNormalizer(
        clean_text=True,
        handle_chinese_chars=config.get("tokenize_chinese_chars", True),
        strip_accents=config.get("strip_accents"),
        lowercase=config.get("do_lower_case", True),
    )
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece(prefix="##")
    names = {role: config.get(f"{role}_token") or f"[{role.upper()}]" for role in ("cls", "sep")}
    if all(name in pieces for name in names.values()):
        cls, sep = names["cls"], names["sep"]
        tokenizer.post_processor = processors.TemplateProcessing(
            single=f"{cls}:0 $A:0 {sep}:0",
            pair=f"{cls}:0 $A:0 {sep}:0 $B:1 {sep}:1",
            special_tokens=[(cls, pieces[cls]), (sep, pieces[sep])],
        )
    return tokenizer


def _apply_config(tokenizer: Tokenizer, config: Mapping[str, Any]) -> None:
    normalizer = json.loads(tokenizer.to_str())["normalizer"]
    if normalizer is None or normalizer["type"] != "BertNormalizer":
        return
    settings = {name: normalizer[name] for name in _NORMALIZER_SETTINGS.values()}
    told = {name: config[key] for key, name in _NORMALIZER_SETTINGS.items() if key in config}
    if any(settings[name] != value for name, value in told.items()):
        tokenizer.normalizer = normalizers.BertNormalizer(
            clean_text=normalizer["clean_text"], **{**settings, **told}
        )


def _has_capitals(vocabulary: Sequence[str]) -> bool:
    return any(piece.isalpha() and piece != piece.lower() for piece in vocabulary)


def _read_json(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise InputError(f"{path}: not JSON ({error}): copy the file again") from None
    if not isinstance(content, dict):
        raise InputError(f"{path}: expected a JSON object: copy the file again")
    return content


def _read_tokenizer_json(path: Path) -> Tokenizer:
    try:
        return Tokenizer.from_file(str(path))
    except Exception as error:  # the Rust library raises a bare Exception
        raise InputError(
            f"{path}: not a file of the tokenizers library ({error}): copy it again"
        ) from None
