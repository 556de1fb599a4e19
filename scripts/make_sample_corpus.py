"""Makes the sample corpus of the offline quickstart from hand-written templates and name parts.

Each `configs/sample/<language>/source.txt` holds sentence templates and the parts that names are
put together from; everything in them was written for this project. This program writes beside it
`{train,dev,test}.tsv.gz` (words, TAB, tags) and `transfer.txt.gz` (plain sentences). The same
sources and seed give the same sentences on every machine.

Every name belongs to one split alone, by a hash of its spelling. So no name of `test` is ever seen
in `train`, `dev` or `transfer`; only parts of names, such as a common ending, are.

    python scripts/make_sample_corpus.py                  # all languages, into configs/sample
    python scripts/make_sample_corpus.py --languages=el   # one of them
"""

import gzip
import hashlib
import random
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from absl import app, flags

SAMPLE_FOLDER = Path(__file__).resolve().parent.parent / "configs" / "sample"
SIZES = {"train": 900, "dev": 100, "test": 200, "transfer": 1500}
# Which share of all names belongs to which split, in percent.
NAME_SHARES = {"train": 50, "dev": 8, "transfer": 24, "test": 18}
ENTITY_KINDS = ("per", "loc", "org")

_SLOT = re.compile(r"^\{([a-z_]+)(?:\.([a-z_.]+))?\}$")
_ALTERNATIVES = re.compile(r"\(([^()]*\|[^()]*)\)")

Word = tuple[str, str]  # a word and its BIO tag


@dataclass
class Source:
    """What one `source.txt` holds.

    Sections in the file start with `[name]`; a line that starts with `#` is a comment.

    - `[sentences]`: one template a line, words and punctuation separated by blanks. `(a|b|)` picks
      one of several, `{name}` puts in a line of the section `[name]`, `{name.form}` an inflected
      one. Sections whose names start with `per`, `loc` or `org` are entities and carry tags.
    - `[names kind]`: name words of one kind. A line `stems: …` followed by `endings: …` stands for
      every stem with every ending.
    - `[per.gen]`: patterns of `[per]` that already stand in the form `gen`.
    - `[form kind.form]`: suffix rules `old > new` (longest first) that inflect names of the kind.
    """

    sections: dict[str, list[str]] = field(default_factory=dict)
    names: dict[str, list[str]] = field(default_factory=dict)
    forms: dict[str, list[tuple[str, str]]] = field(default_factory=dict)


def read_source(path: Path) -> Source:
    """Reads one `source.txt`."""
    source = Source()
    section, stems = "", []
    for line in path.read_text(encoding="utf-8").splitlines():
        line = line.strip()
        if not line or line.startswith("#"):
            continue
        if line.startswith("["):
            section = line.strip("[]")
            continue
        group, _, kind = section.partition(" ")
        if group == "names":
            words = source.names.setdefault(kind, [])
            if line.startswith("stems:"):
                stems = line.split()[1:]
            elif line.startswith("endings:"):
                words += [stem + ending for stem in stems for ending in line.split()[1:]]
            else:
                words += line.split()
        elif group == "form":
            old, new = (part.strip() for part in line.split(">"))
            source.forms.setdefault(kind, []).append((old, new))
        else:
            source.sections.setdefault(section, []).append(line)
    for rules in source.forms.values():
        rules.sort(key=lambda rule: -len(rule[0]))
    return source


def split_of_name(name: str) -> str:
    """The one split that a name may occur in: a function of its spelling alone."""
    bucket = int.from_bytes(hashlib.sha256(name.encode("utf-8")).digest()[:4], "big") % 100
    for split, share in NAME_SHARES.items():
        if bucket < share:
            return split
        bucket -= share
    raise AssertionError("NAME_SHARES must sum to 100")


def names_by_split(source: Source) -> dict[str, dict[str, list[str]]]:
    """`{split: {kind: names}}`. A name that some template spells out is left out everywhere."""
    spelled_out = {word for lines in source.sections.values() for word in _words(lines)}
    pools = {split: {kind: [] for kind in source.names} for split in NAME_SHARES}
    for kind, names in source.names.items():
        for name in dict.fromkeys(names):
            if name not in spelled_out:
                pools[split_of_name(name)][kind].append(name)
    return pools


def _words(lines: Sequence[str]) -> Iterator[str]:
    for line in lines:
        yield from re.split(r"[\s()|]+", line)


class SentenceMaker:
    """Draws sentences of one language and split."""

    def __init__(self, source: Source, names: dict[str, list[str]], seed: str):
        self._source = source
        self._names = names
        self._random = random.Random(seed)

    def sentence(self) -> list[Word]:
        """One sentence: words and their tags; the first letter is a capital."""
        words = self._fill(self._pick(self._source.sections["sentences"]), form="", tag="O")
        first, tag = words[0]
        return [(first[:1].upper() + first[1:], tag), *words[1:]]

    def _pick(self, choices: Sequence[str]) -> str:
        # `random()` is the one method whose values Python promises to keep over its versions.
        return choices[int(self._random.random() * len(choices))]

    def _fill(self, template: str, form: str, tag: str) -> list[Word]:
        """Replaces alternatives and slots; `form` is the case asked for by the template above."""
        template = _ALTERNATIVES.sub(lambda match: self._pick(match[1].split("|")), template)
        words: list[Word] = []
        for word in template.split():
            slot = _SLOT.match(word)
            if slot is None:
                words.append((word, tag))
                continue
            kind, own_form = slot[1], slot[2] or ""
            inside = ".".join(part for part in (own_form, form) if part)
            if kind in self._names:
                words.append((self._inflect(kind, self._pick(self._names[kind]), inside), tag))
            elif kind.startswith(ENTITY_KINDS):
                words += self._entity(kind, inside)
            else:
                words += self._fill(self._pick(self._source.sections[kind]), inside, tag)
        return words

    def _entity(self, kind: str, form: str) -> list[Word]:
        label, sections = kind[:3].upper(), self._source.sections
        if f"{kind}.{form}" in sections:  # patterns that are written in the form asked for
            kind, form = f"{kind}.{form}", ""
        words = self._fill(self._pick(sections[kind]), form, tag=label)
        return [(word, ("I-" if i else "B-") + label) for i, (word, _) in enumerate(words)]

    def _inflect(self, kind: str, name: str, form: str) -> str:
        """The name in a form such as `gen` or `f.gen` (the genitive of the feminine)."""
        while form:
            for old, new in self._source.forms.get(f"{kind}.{form}", []):
                if name.endswith(old):
                    return name.removesuffix(old) + new
            # Without rules for the case, the name is indeclinable; it may still have a feminine.
            form = form.rpartition(".")[0]
        return name


def make_language(folder: Path, seed: int) -> dict[str, list[list[Word]]]:
    """The sentences of every split of the language in `folder`; no sentence comes twice."""
    source = read_source(folder / "source.txt")
    pools = names_by_split(source)
    seen: set[str] = set()
    splits: dict[str, list[list[Word]]] = {}
    for split, size in SIZES.items():
        maker = SentenceMaker(source, pools[split], seed=f"{seed}/{folder.name}/{split}")
        sentences: list[list[Word]] = []
        while len(sentences) < size:
            sentence = maker.sentence()
            text = " ".join(word for word, _ in sentence)
            if text not in seen:
                seen.add(text)
                sentences.append(sentence)
        splits[split] = sentences
    return splits


def lines_of(split: str, sentences: list[list[Word]]) -> str:
    """The text of a file: `words TAB tags` a line, or words alone for the transfer text."""
    rows = []
    for sentence in sentences:
        words = " ".join(word for word, _ in sentence)
        tags = " ".join(tag for _, tag in sentence)
        rows.append(words if split == "transfer" else f"{words}\t{tags}")
    return "".join(row + "\n" for row in rows)


def file_of(folder: Path, split: str) -> Path:
    """Where the sentences of a split lie."""
    return folder / ("transfer.txt.gz" if split == "transfer" else f"{split}.tsv.gz")


def write_language(folder: Path, seed: int) -> int:
    """Writes the four files of one language; returns the number of sentences."""
    splits = make_language(folder, seed)
    for split, sentences in splits.items():
        # Without a time stamp or a file name inside, the same sentences are the same bytes.
        packed = gzip.compress(lines_of(split, sentences).encode("utf-8"), mtime=0)
        file_of(folder, split).write_bytes(packed)
    return sum(len(sentences) for sentences in splits.values())


def main(_: Sequence[str]) -> None:
    folder = Path(flags.FLAGS.output_dir)
    languages = flags.FLAGS.languages or sorted(
        source.parent.name for source in folder.glob("*/source.txt")
    )
    for language in languages:
        count = write_language(folder / language, flags.FLAGS.seed)
        print(f"{language}: {count} sentences in {folder / language}")


if __name__ == "__main__":
    flags.DEFINE_string("output_dir", str(SAMPLE_FOLDER), "Folder of <language>/source.txt")
    flags.DEFINE_list("languages", [], "Languages to make; empty: every one with a source.txt")
    flags.DEFINE_integer("seed", 1, "Seed of all draws")
    app.run(main)
