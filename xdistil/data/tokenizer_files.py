"""The tokenizer of a checkpoint folder in hub format, without transformers."""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

from xdistil.data.lines import numbered_lines
from xdistil.data.paths import AnyPath, local_file
from xdistil.errors import InputError

# What tokenizer_config.json calls the settings of BERT's normalizer, and what tokenizers does.
_NORMALIZER_SETTINGS = {
    "do_lower_case": "lowercase",
    "strip_accents": "strip_accents",
    "tokenize_chinese_chars": "handle_chinese_chars",
}

# Vocabularies of the library sentencepiece, by families: XLM-R's, ALBERT's.
_SENTENCE_PIECE = ("sentencepiece.bpe.model", "spiece.model")
# Classes that cut words as BERT's does, without the ending `Fast`.
_LIKE_BERT = (
    *("BertTokenizer", "DistilBertTokenizer", "ElectraTokenizer", "MobileBertTokenizer"),
    *("ConvBertTokenizer", "LayoutLMTokenizer", "PreTrainedTokenizer", "TokenizersBackend"),
)
# Settings of pre-tokenizers by which each given word gets a mark of its beginning.
_MARKING = {"ByteLevel": {"add_prefix_space": True}, "Metaspace": {"prepend_scheme": "always"}}
# What Python's `str.split` takes for white space: one space instead, and none at either end.
_PLAIN_SPACES = [
    {
        "type": "Replace",
        "pattern": {
            "Regex": "[\t-\r\x1c- \x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]+"
        },
        "content": " ",
    },
    {"type": "Strip", "strip_left": True, "strip_right": True},
]
_ROBERTA_TOKENS = {"cls": "<s>", "sep": "</s>", "pad": "<pad>", "unk": "<unk>", "mask": "<mask>"}


def read_tokenizer(folder: AnyPath) -> tuple[Tokenizer, dict[str, Any]]:
    """Reads `tokenizer.json`, else `vocab.txt` (WordPiece), else `vocab.json` and `merges.txt`
    (byte-level BPE), of a checkpoint folder.

    What `tokenizer_config.json` says of lower case, accents and Chinese characters holds, also
    where it contradicts `tokenizer.json`: so do transformers' fast tokenizers.

    Args:
        folder: a checkpoint folder as the hub has it.

    Returns:
        The tokenizer, and the content of `tokenizer_config.json` (with the special tokens of
        `special_tokens_map.json`, names written out as strings).

    Raises:
        InputError: the folder holds none of these, one that is not what its name says, or a
            `vocab.txt` of a tokenizer other than BERT's.
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
        _check_class(folder, config)
        vocabulary = [piece for _, piece in numbered_lines(str(folder / "vocab.txt"))]
        if "do_lower_case" not in config and _has_capitals(vocabulary):
            warnings.warn(
                f"{folder}: vocab.txt has pieces with capitals, but nothing says that text keeps "
                'its case: write {"do_lower_case": false} into tokenizer_config.json',
                stacklevel=2,
            )
        tokenizer = build_wordpiece(vocabulary, config)
    elif (folder / "vocab.json").is_file() and (folder / "merges.txt").is_file():
        tokenizer = _read_byte_level_bpe(folder, config)
    else:
        raise _no_tokenizer(folder)
    return _without_plain_spaces(tokenizer), config


def _check_class(folder: AnyPath, config: Mapping[str, Any]) -> None:
    """Refuses a vocabulary whose text is cut by other rules than BERT's."""
    # Older files name the class in the model's config.json alone.
    name = config.get("tokenizer_class") or _read_json(folder / "config.json").get(
        "tokenizer_class"
    )
    words = config.get("word_tokenizer_type") or "basic"
    pieces = config.get("subword_tokenizer_type") or "wordpiece"
    if name is not None and str(name).removesuffix("Fast") not in _LIKE_BERT:
        found = f"tokenizer_class is {name!r}"
    elif words != "basic":
        found = f"word_tokenizer_type is {words!r}"
    elif pieces != "wordpiece":
        found = f"subword_tokenizer_type is {pieces!r}"
    else:
        return
    raise InputError(
        f"{folder}: {found}, so that vocab.txt alone does not tell how words are cut; expected "
        "BertTokenizer or one like it; give a folder with tokenizer.json"
    )


def _no_tokenizer(folder: AnyPath) -> InputError:
    found = [name for name in _SENTENCE_PIECE if (folder / name).is_file()]
    if not found:
        return InputError(
            f"{folder}: no tokenizer.json and no vocab.txt in it: give a checkpoint folder with "
            "its tokenizer"
        )
    return InputError(
        f"{folder}: its tokenizer is there only as {found[0]}; expected tokenizer.json, which you "
        "make where transformers and sentencepiece are installed: "
        "AutoTokenizer.from_pretrained(folder).save_pretrained(folder)"
    )


def separate_words(tokenizer: Tokenizer) -> Tokenizer:
    """Makes each word of a text that is split into words begin as after a space.

    Byte-level BPE and SentencePiece mark the beginning of a word by the space before it. RoBERTa's
    tokenizer.json leaves it away at the beginning of a text, and would at that of every given word:
    `Ada lives` would become the pieces of `Adalives`.

    Args:
        tokenizer: of any kind.

    Returns:
        The tokenizer itself where nothing is to be changed, else a changed copy.
    """
    if all(map(_marks_words, _marking_parts(tokenizer))):
        return tokenizer
    content = json.loads(tokenizer.to_str())
    for part in _parts(content["pre_tokenizer"]):
        part.update(_MARKING.get(part["type"], {}))
    return Tokenizer.from_str(json.dumps(content))


def leaves_first_space(folder: AnyPath) -> bool:
    """Whether the folder's tokenizer, as transformers reads it, gives the first word of a text no
    mark of its beginning; RoBERTa's does so, and `separate_words` changes it.

    Args:
        folder: as for `read_tokenizer`.
    """
    tokenizer, config = read_tokenizer(folder)
    parts = [part for part in _marking_parts(tokenizer) if part["type"] == "ByteLevel"]
    from_file = (folder / "tokenizer.json").is_file()
    return any(
        not config.get("add_prefix_space", from_file and part["add_prefix_space"]) for part in parts
    )


def marks_words(tokenizer: Tokenizer) -> bool:
    """Whether the tokenizer marks the beginning of each word, see `separate_words`."""
    return any(map(_marks_words, _marking_parts(tokenizer)))


def with_plain_spaces(tokenizer: Tokenizer) -> Tokenizer:
    """A copy that reads a whole text as the words that `str.split` makes of it.

    Words are given one by one here, so white space never reaches the tokenizer. Who gives it a
    whole text, as transformers does, would get pieces of their own for a second space.
    `read_tokenizer` takes it away again.

    Args:
        tokenizer: of any kind.
    """
    content = json.loads(tokenizer.to_str())
    inner = content["normalizer"]
    # The parts of a sequence beside ours: transformers looks for some of them there.
    parts = [] if inner is None else [inner]
    if inner is not None and inner["type"] == "Sequence" and len(inner["normalizers"]) != 1:
        parts = inner["normalizers"]
    content["normalizer"] = {"type": "Sequence", "normalizers": [*_PLAIN_SPACES, *parts]}
    return Tokenizer.from_str(json.dumps(content))


def _without_plain_spaces(tokenizer: Tokenizer) -> Tokenizer:
    """Undoes `with_plain_spaces`: so that a saved tokenizer is the very one that was saved."""
    if tokenizer.normalizer is None:
        return tokenizer
    parts = json.loads(tokenizer.normalizer.__getstate__()).get("normalizers", [])
    if parts[: len(_PLAIN_SPACES)] != _PLAIN_SPACES:
        return tokenizer
    rest = parts[len(_PLAIN_SPACES) :]
    content = json.loads(tokenizer.to_str())
    several = {"type": "Sequence", "normalizers": rest}
    content["normalizer"] = {0: None, 1: rest[0] if rest else None}.get(len(rest), several)
    return Tokenizer.from_str(json.dumps(content))


def _marking_parts(tokenizer: Tokenizer) -> list[dict[str, Any]]:
    """The pre-tokenizers that can mark words, as tokenizer.json has them."""
    if tokenizer.pre_tokenizer is None:
        return []
    # Its state alone: the whole file of a large vocabulary takes a second to parse.
    parts = _parts(json.loads(tokenizer.pre_tokenizer.__getstate__()))
    return [part for part in parts if part["type"] in _MARKING]


def _parts(pre_tokenizer: dict[str, Any]) -> list[dict[str, Any]]:
    return pre_tokenizer.get("pretokenizers", [pre_tokenizer])


def _marks_words(part: dict[str, Any]) -> bool:
    return all(part[name] == value for name, value in _MARKING[part["type"]].items())


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


def _read_byte_level_bpe(folder: AnyPath, config: Mapping[str, Any]) -> Tokenizer:
    """RoBERTa's tokenizer from vocab.json and merges.txt, as transformers sets it up."""
    try:
        names = ("vocab.json", "merges.txt")
        with local_file(folder / names[0]) as pieces, local_file(folder / names[1]) as rules:
            vocabulary, merges = models.BPE.read_file(str(pieces), str(rules))
        model = models.BPE(
            vocabulary, merges, continuing_subword_prefix="", end_of_word_suffix="", fuse_unk=False
        )
    except Exception as error:  # the Rust library raises a bare Exception
        reason = " ".join(str(error).split())
        raise InputError(
            f"{folder}: vocab.json and merges.txt are no byte-level BPE ({reason}): copy them again"
        ) from None
    tokenizer = Tokenizer(model)
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    tokenizer.decoder = decoders.ByteLevel()
    names = {role: config.get(f"{role}_token") or name for role, name in _ROBERTA_TOKENS.items()}
    missing = [name for name in names.values() if name not in vocabulary]
    if missing:
        raise InputError(
            f"{folder / 'vocab.json'}: has no piece {missing[0]}, so it is no tokenizer of "
            "RoBERTa; give a folder with tokenizer.json"
        )
    tokenizer.post_processor = processors.RobertaProcessing(
        (names["sep"], vocabulary[names["sep"]]), (names["cls"], vocabulary[names["cls"]])
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


def _read_json(path: AnyPath) -> dict[str, Any]:
    if not path.is_file():
        return {}
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise InputError(f"{path}: not JSON ({error}): copy the file again") from None
    if not isinstance(content, dict):
        raise InputError(f"{path}: expected a JSON object: copy the file again")
    return content


def _read_tokenizer_json(path: AnyPath) -> Tokenizer:
    try:
        return Tokenizer.from_str(path.read_text(encoding="utf-8"))
    except Exception as error:  # the Rust library raises a bare Exception
        reason = " ".join(str(error).split())
        raise InputError(
            f"{path}: not a file of the tokenizers library ({reason}): copy it again"
        ) from None
