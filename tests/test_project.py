"""The repository itself: sources, configurations, README, and the sample corpus."""

import ast
import gzip
import importlib.util
import json
import re
import subprocess
import sys
import unicodedata
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from xdistil.data import read_folder

ROOT = Path(__file__).resolve().parent.parent
ROOMS = ("data", "models", "metrics", "tasks", "distillation", "export", "report")
SOURCES = sorted([*ROOT.glob("xdistil/**/*.py"), *ROOT.glob("scripts/*.py")])
CONFIGS = sorted(ROOT.glob("configs/*.cfg"))
PROGRAMS = ("run_ner", "run_classification", "run_pairs", "run_pretraining")
LANGUAGES = sorted(path.parent.name for path in ROOT.glob("configs/sample/*/source.txt"))


def short(path: Path) -> str:
    """A path as it stands in the name of a test."""
    return str(path.relative_to(ROOT))


def imported_modules(source: str) -> Iterator[str]:
    """Full names of what a source imports; `from a import b` gives `a.b`."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


# The sources


@pytest.mark.parametrize("path", SOURCES, ids=short)
def test_a_source_uses_no_legacy_keras_no_pickle_and_no_torch(path: Path):
    source = path.read_text(encoding="utf-8")
    refused = {"pickle", "cloudpickle", "joblib", "dill", "tf_keras", "torch"}
    for name in imported_modules(source):
        # Benchmarks ask for PyTorch as a yardstick, inside the functions that run it.
        if name != "torch" or path.name not in {"torch_student.py", "benchmark_hub.py"}:
            assert name.split(".")[0] not in refused
        assert not name.startswith("tensorflow.keras")
    assert not re.search(r"^import torch\b|^from torch\b", source, re.MULTILINE)
    assert not re.search(r"\btf\.keras\b", source)
    assert not re.search(r"allow_pickle=True|safe_mode=False|trust_remote_code=True", source)


@pytest.mark.parametrize("path", SOURCES, ids=short)
def test_a_source_is_short_and_named_for_what_it_holds(path: Path):
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 400
    assert path.stem not in {"utils", "helpers", "common", "misc", "manager"}


@pytest.mark.parametrize("path", sorted(ROOT.glob("xdistil/*/**/*.py")), ids=short)
def test_a_room_imports_only_from_rooms_before_it(path: Path):
    room = path.relative_to(ROOT / "xdistil").parts[0]
    allowed = {"errors", *ROOMS[: ROOMS.index(room) + 1]}
    for name in imported_modules(path.read_text(encoding="utf-8")):
        parts = name.split(".")
        if parts[0] == "xdistil" and len(parts) > 1:
            assert parts[1] in allowed, f"{name} in the room {room}"


def test_every_folder_of_sources_is_a_package_that_setup_finds():
    for path in ROOT.glob("xdistil/**/*.py"):
        assert (path.parent / "__init__.py").exists(), short(path.parent)


# The configurations


@pytest.fixture(scope="module")
def flags_of_configs() -> dict[str, dict[str, object]]:
    """`{config: {flag: value}}` as the program that it names reads it; the defaults of each
    program under its own name.

    In processes of their own: absl holds flags in one global place.
    """
    read = """
import importlib, json, sys
sys.path.insert(0, "scripts")
program, *configs = sys.argv[1:]
importlib.import_module(program)
from absl import flags
parsed = {}
for config in ["", *configs]:
    flags.FLAGS.unparse_flags()
    for name in flags.FLAGS:
        flags.FLAGS[name].unparse()
    own = [f"--flagfile={config}"] if config else []
    text = ["--text_file=z"] if program == "run_pretraining" else []
    flags.FLAGS([program, "--teacher=x", "--output_dir=y", *text, *own])
    parsed[config or program] = flags.FLAGS.flag_values_dict()
print(json.dumps(parsed, default=str))
"""
    parsed = {}
    for program in PROGRAMS:
        configs = [short(path) for path in CONFIGS if program_of(path) == program]
        done = subprocess.run(
            [sys.executable, "-c", read, program, *configs],
            cwd=ROOT,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
        parsed |= json.loads(done.stdout)
    return parsed


def program_of(config: Path) -> str:
    """The program that a configuration's command names."""
    return re.search(r"python scripts/(run_\w+)\.py", config.read_text(encoding="utf-8"))[1]


@pytest.mark.parametrize("path", CONFIGS, ids=short)
def test_a_config_is_read_by_its_program(path: Path, flags_of_configs):
    assert flags_of_configs[short(path)] != flags_of_configs[program_of(path)]
    given = re.findall(r"^--(?:no)?(\w+)", path.read_text(encoding="utf-8"), re.MULTILINE)
    assert len(given) == len(set(given))
    if program_of(path) == "run_ner":
        values = flags_of_configs[short(path)]
        assert (values["recipe"], values["student"]) == ("D4.2", "bilstm")


@pytest.mark.parametrize("path", CONFIGS, ids=short)
def test_a_config_opens_with_its_command_its_time_and_what_to_expect(path: Path):
    head = path.read_text(encoding="utf-8").split("\n--", maxsplit=1)[0]
    assert all(not line or line.startswith("#") for line in head.splitlines())
    assert f"python scripts/{program_of(path)}.py --flagfile={short(path)} " in head
    assert "# Time:" in head
    assert "# Expect:" in head


def test_the_configs_of_the_paper_hold_its_settings(flags_of_configs):
    large = flags_of_configs["configs/xtremedistil_wikiann41.cfg"]
    small = flags_of_configs["configs/xtremedistil_35x.cfg"]
    assert (large["embedding_dim"], large["hidden_dim"]) == (300, 600)
    assert (small["embedding_dim"], small["hidden_dim"]) == (50, 200)
    for values in (large, small):
        assert len(set(values["languages"])) == 41
        assert (values["seq_len"], values["teacher_layer"]) == (32, 6)
        assert (values["batch_size"], values["epochs"], values["dropout"]) == (512, 80, 0.2)
        assert (values["learning_rate"], values["learning_rate_period"]) == (1e-3, 50)
        assert (values["teacher_epochs"], values["teacher_batch_size"]) == (3, 32)
        assert (values["teacher_learning_rate"], values["teacher_warmup"]) == (2e-5, 0.1)


def test_the_configs_of_the_papers_on_texts_hold_their_settings(flags_of_configs):
    transfer = flags_of_configs["configs/transfer_data_agnews.cfg"]
    assert (transfer["embedding_dim"], transfer["hidden_dim"]) == (300, 600)
    assert (transfer["dropout"], transfer["labeled_per_class"]) == (0.4, 500)
    assert (transfer["recipe"], transfer["pooling"]) == ("staged", "max")
    for name, batch_size, iterations in (("tang_sst2", 50, 20), ("tang_pairs", 256, 10)):
        values = flags_of_configs[f"configs/{name}.cfg"]
        assert (values["hidden_dim"], values["representation_dim"]) == (150, 200)
        assert (values["pooling"], values["activation"]) == ("last", "relu")
        assert (values["channels"], values["dropout"]) == (2, 0)
        assert (values["recipe"], values["alpha"]) == ("tang", 0)
        assert (values["optimizer"], values["learning_rate"]) == ("adadelta", 1.0)
        assert values["batch_size"] == batch_size
        assert values["augment"] and values["augment_iterations"] == iterations
        chances = [values[f"augment_{chance}"] for chance in ("mask", "pos", "ngram")]
        assert chances == [0.1, 0.1, 0.25]


def test_the_configs_of_the_papers_on_transformers_hold_their_settings(flags_of_configs):
    for task in ("sst2", "mrpc", "rte", "mnli"):
        values = flags_of_configs[f"configs/pkd_{task}.cfg"]
        assert (values["recipe"], values["student"]) == ("pkd_skip", "transformer")
        assert (values["student_layers"], values["num_layers"]) == ("first", 6)
        assert values["student_layers_from"] == "pretrained"
        assert (values["batch_size"], values["epochs"], values["seq_len"]) == (32, 4, 128)
        assert (values["optimizer"], values["patience_reduction"]) == ("adamw", "sum")
        assert values["learning_rate"] in (5e-5, 2e-5, 1e-5)
        assert values["normalize_patience"]
        # Left to the recipe, so that the other recipes of the table take the same file.
        assert values["temperature"] is None and values["alpha"] is None
    assert flags_of_configs["configs/distilbert_sst2.cfg"]["recipe"] == "distilbert"


@pytest.mark.parametrize("program", ["run_classification", "run_pairs"])
def test_the_recipes_that_a_config_names_for_other_rows_take_its_flags(program: str):
    read = """
import importlib, sys
sys.path.insert(0, "scripts")
program, *commands = sys.argv[1:]
importlib.import_module(program)
import text_flags
from absl import flags
for command in commands:
    flags.FLAGS.unparse_flags()
    for name in flags.FLAGS:
        flags.FLAGS[name].unparse()
    common = ["--teacher=x", "--output_dir=y", "--data_dir=nowhere"]
    flags.FLAGS([program, *common, *command.split()])
    try:
        text_flags.read_corpus(pairs=program == "run_pairs")
    except text_flags.InputError as error:
        print(error)
"""
    commands = []
    for path in CONFIGS:
        if program_of(path) == program:
            comments = re.findall("^# .*", path.read_text("utf-8"), re.MULTILINE)
            names = re.findall(r"--recipe=(\w+)", " ".join(comments))
            commands += [f"--flagfile={short(path)} --recipe={name}" for name in names]
    done = subprocess.run(
        [sys.executable, "-c", read, program, *commands], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    # The flags pass, and then there is no such data.
    for command, line in zip(commands, done.stdout.splitlines(), strict=True):
        assert "nowhere" in line, f"{command}: {line}"
    assert any("pkd" in command for command in commands)


def test_the_config_of_pre_training_holds_the_settings_of_paper_and_code(flags_of_configs):
    values = flags_of_configs["configs/distilbert_pretraining.cfg"]
    assert (values["train"], values["num_layers"]) == ("student", 6)
    assert values["student_init"] == "teacher"
    assert [values[f"alpha_{term}"] for term in ("ce", "mlm", "cos")] == [5.0, 2.0, 1.0]
    assert (values["temperature"], values["masked_only"]) == (2.0, False)
    assert (values["mask_share"], values["mask_smoothing"]) == (0.15, 0.7)
    assert (values["epochs"], values["batch_size"], values["seq_len"]) == (3, 4096, 512)
    assert (values["learning_rate"], values["warmup"]) == (5e-4, 0.05)
    assert (values["weight_decay"], values["clip_norm"]) == (0.0, 5.0)
    assert (values["min_length"], values["pack_lines"]) == (12, False)


# README and CI


def documents() -> list[Path]:
    return [ROOT / "README.md", *ROOT.glob("docs/*.md"), *ROOT.glob("configs/*.md")]


@pytest.mark.parametrize("path", documents(), ids=short)
def test_files_that_a_document_names_exist(path: Path):
    text = path.read_text(encoding="utf-8")
    named = set(re.findall(r"\b(?:scripts|configs|docs|tests)/[\w./-]*\w", text))
    for name in named:
        assert (ROOT / name).exists(), name
    for link in re.findall(r"\]\((?!https?:)([\w./-]+)\)", text):
        assert (path.parent / link).exists(), link


def test_flags_that_the_readme_names_exist(flags_of_configs):
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    known = {"help", "flagfile", "dist"}  # the last is pytest's
    known = known.union(*(flags_of_configs[program] for program in PROGRAMS))
    for script in ("predict.py", "evaluate.py", "export.py", "shared_flags.py"):
        source = (ROOT / "scripts" / script).read_text(encoding="utf-8")
        known |= set(re.findall(r"DEFINE_\w+\(\s*\"(\w+)\"", source))
    for name in re.findall(r"(?<![\w-])--([a-z_]+)", text):
        assert name in known, f"--{name}"


def test_the_readme_and_ci_run_the_same_tests():
    command = "bin/python -m pytest -q -n 2 --dist=worksteal"
    assert command in (ROOT / "README.md").read_text(encoding="utf-8")
    assert command in (ROOT / ".ci" / "run").read_text(encoding="utf-8").replace('"', "")


# The sample corpus


@pytest.fixture(scope="module")
def generator() -> ModuleType:
    """The module scripts/make_sample_corpus.py."""
    path = ROOT / "scripts" / "make_sample_corpus.py"
    spec = importlib.util.spec_from_file_location("make_sample_corpus", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up by name
    spec.loader.exec_module(module)
    return module


def lines(path: Path) -> list[str]:
    with gzip.open(path, "rt", encoding="utf-8", newline="\n") as file:
        return [line.rstrip("\n") for line in file]


def names_in(folder: Path, language: str, split: str) -> set[str]:
    """The entities of a split, words joined by a space."""
    names = set()
    for sentence in read_folder(folder, [language], split):
        current: list[str] = []
        for word, tag in [*zip(sentence.words, sentence.tags, strict=True), ("", "O")]:
            if current and not tag.startswith("I-"):
                names.add(" ".join(current))
                current = []
            if tag != "O":
                current.append(word)
    return names


def test_the_sample_corpus_has_six_languages_and_three_scripts(sample_corpus: Path):
    scripts = set()
    for language in LANGUAGES:
        text = "".join(lines(sample_corpus / language / "transfer.txt.gz"))
        letters = [unicodedata.name(letter).split()[0] for letter in text if letter.isalpha()]
        scripts.add(max(set(letters), key=letters.count))
    assert len(LANGUAGES) >= 6
    assert len(scripts) >= 3, scripts


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_sample_corpus_is_what_its_sources_make(language, sample_corpus, generator):
    folder = sample_corpus / language
    for split, sentences in generator.make_language(folder, seed=1).items():
        made = generator.lines_of(split, sentences).split("\n")[:-1]
        assert lines(generator.file_of(folder, split)) == made
        assert len(set(made)) == generator.SIZES[split]


@pytest.mark.parametrize("language", LANGUAGES)
def test_no_name_of_test_occurs_in_any_other_text(language, sample_corpus):
    folder = sample_corpus / language
    other = lines(folder / "transfer.txt.gz")
    for split in ("train", "dev"):
        other += [line.split("\t")[0] for line in lines(folder / f"{split}.tsv.gz")]
    text = "\n".join(f" {line} " for line in other)
    names = names_in(sample_corpus, language, "test")
    assert len(names) > 100
    assert not [name for name in names if f" {name} " in text]


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_name_part_belongs_to_one_split(language, sample_corpus, generator):
    source = generator.read_source(sample_corpus / language / "source.txt")
    assert len(source.sections["sentences"]) >= 40
    pools = generator.names_by_split(source)
    seen: set[str] = set()
    for pool in pools.values():
        names = {name for kind in pool.values() for name in kind}
        assert all(pool.values()), "a split has no name of some kind"
        assert not names & seen
        seen |= names


@pytest.mark.parametrize("language", LANGUAGES)
def test_some_sentences_have_no_entity_and_all_kinds_occur(language, sample_corpus):
    for split in ("train", "dev", "test"):
        sentences = list(read_folder(sample_corpus, [language], split))
        tags = {tag for sentence in sentences for tag in sentence.tags}
        assert tags == {"O", *(b + kind for b in ("B-", "I-") for kind in ("PER", "LOC", "ORG"))}
        assert any(set(sentence.tags) == {"O"} for sentence in sentences)


def test_no_place_for_a_measured_number_is_left_open(repository):
    texts = ("README.md", "docs/*.md", "configs/*.md", "configs/*.cfg")
    for path in (path for pattern in texts for path in repository.glob(pattern)):
        assert "MEASURED-" not in path.read_text("utf-8"), path
