"""The benchmarks of rates and of whole runs: what they count, and what they print."""

import json
import shlex
import types
from pathlib import Path

import numpy as np
import pytest


def test_a_whole_run_is_set_against_the_earlier_ways(stand_in, report, tmp_path, monkeypatch):
    import benchmark_whole

    stand_in(
        "import json, pathlib, sys\n"
        "flags = dict(flag[2:].partition('=')[::2] for flag in sys.argv[1:])\n"
        "report = json.loads(flags['report'])\n"
        "if 'pad_to_seq_len' in flags:\n"
        "    assert flags['teacher_targets'] == 'each_stage'\n"
        "    assert 'noreuse_frozen' in flags\n"
        "    report['seconds']['targets'] *= 9\n"
        "    report['teacher_passes'] = 8\n"
        "folder = pathlib.Path(flags['output_dir'])\n"
        "folder.mkdir()\n"
        "(folder / 'report.json').write_text(json.dumps(report))\n"
    )
    given = {
        "run_flags": shlex.join([f"--report={json.dumps(report)}"]),
        "ways": ["now", "all"],
        "work_dir": str(tmp_path / "work"),
        "program": "ner",
    }
    monkeypatch.setattr(benchmark_whole, "FLAGS", types.SimpleNamespace(**given))
    result = benchmark_whole.measure()
    assert [row["seconds"]["total"] for row in result["rows"]] == [480, 1440]
    now, earlier = benchmark_whole.table(result).splitlines()[-2:]
    assert now.split()[-4:] == ["6", "60", "80.00", "1.00x"]
    assert earlier.split()[-4:] == ["6", "60", "80.00", "3.00x"]


def test_the_teachers_work_is_its_matrix_products():
    import benchmark_targets

    config = types.SimpleNamespace(hidden_dim=4, intermediate_dim=6, num_layers=3)
    teacher = types.SimpleNamespace(encoder_config=config)
    # A position: four square maps and two of the feed-forward block; each pair of positions twice.
    of_layer = 5 * (4 * 4 * 4 + 2 * 4 * 6) + 2 * 5 * 5 * 4
    assert benchmark_targets.flops(teacher, 5) == 2 * 3 * of_layer


class Stored:
    """Stands for a trained tagger of three classes."""

    def __init__(self):
        self.task = self
        self.inference = self

    def unlabeled(self, inputs):
        return inputs

    def encode(self, inputs):
        return [types.SimpleNamespace(token_ids=np.arange(len(one) + 2)) for one in inputs]

    def run(self, examples):
        return [{"logits": np.eye(3)[one.token_ids % 3]} for one in examples]


def test_a_checkpoint_in_pytorch_is_compared_where_its_pieces_are_the_same():
    import benchmark_hub

    def theirs(inputs):
        token_ids = [list(range(len(one) + 2)) for one in inputs]
        logits = [np.eye(3)[np.array(row) % 3] for row in token_ids]
        token_ids[0][1] = 7
        logits[1] = logits[1] + 1e-3
        logits[2] = -logits[2]
        return token_ids, logits

    found = benchmark_hub.compare(Stored(), theirs, iter([["a"], ["b", "c"], ["d"], ["e"]]))
    assert (found["sentences"], found["cut_otherwise"], found["labels_differ"]) == (4, 1, 1)
    assert found["logits"] == 2
    row = {"file": "f.tsv", **found}
    printed = benchmark_hub.table({"rows": [row]}).splitlines()[-1]
    assert printed.split() == ["f.tsv", "4", "1", "1", "2.0e+00"]


def test_a_run_without_a_checkpoint_in_hub_format_is_refused(tmp_path, monkeypatch):
    import benchmark_hub

    from xdistil.errors import InputError

    given = {"model": str(tmp_path), "input": ["f.tsv"], "sentences": 0}
    monkeypatch.setattr(benchmark_hub, "FLAGS", types.SimpleNamespace(**given))
    with pytest.raises(InputError, match="transformer student"):
        benchmark_hub.measure()


@pytest.fixture
def training_flags(monkeypatch):
    import benchmark_inference
    import benchmark_training

    given = {
        "size": "4x6",
        "batch_size": 8,
        "sentences": 40,
        "median_length": 6,
        "seq_len": 12,
        "vocabulary_size": 50,
        "representation_dim": 8,
        "num_classes": 3,
        "repeats": 1,
        "ways": ["input", "graph", "kept", "keeping"],
        "epochs": 3,
        "seed": 1,
    }
    for module in (benchmark_inference, benchmark_training):
        monkeypatch.setattr(module, "FLAGS", types.SimpleNamespace(**given))
    return benchmark_training


@pytest.mark.parametrize("way", ["graph", "kept"])
def test_each_sub_stage_trains_its_own_layers(training_flags, tmp_path: Path, way):
    data = training_flags.Records(tmp_path)
    assert data.steps == len(data.held) >= 5 and 0 < data.padding < 1
    student = training_flags.new_student()
    before = {name: layers[0].get_weights() for name, layers in student.layer_groups.items()}
    learning = ["dense", "head"]
    training_flags.freeze(student, learning)
    training_flags.fit_of(student, data, upper=True, way=way)()
    for name, layers in student.layer_groups.items():
        pairs = zip(before[name], layers[0].get_weights(), strict=True)
        assert all(np.array_equal(*pair) for pair in pairs) == (name in ("embedding", "bilstm"))


def test_the_sub_stages_are_timed_from_the_head_down(training_flags):
    result = training_flags.measure()
    assert [row["learning"][0] for row in result["rows"]] == [
        "head",
        "dense",
        "bilstm",
        "embedding",
    ]
    lines = training_flags.table(result).splitlines()
    assert lines[1].split() == ["learns", "input", "graph", "kept", "keeping"]
    assert lines[-2].split()[0] == "embedding+bilstm+dense+head"
    assert lines[-2].split()[-2:] == ["-", "-"]


def test_the_whole_stage_is_reckoned_in_the_ways_that_a_run_takes():
    from benchmark_training import whole_stage

    rows = [
        {"seconds": {"graph": 5.0, "kept": 1.0, "keeping": 4.0, "torch": 6.0}},
        {"seconds": {"graph": 8.0, "torch": 7.0}},
    ]
    assert whole_stage(rows, 2) == {"epochs": 2, "ours": 2 * (1 + 8) + 4, "torch": 2 * (6 + 7)}


def test_tokenization_is_told_as_a_share_of_the_bare_tokenizers_rate():
    import benchmark_tokenization

    rows = [{"way": "bare", "sentences_per_second": 12375.4, "of_bare": 1.0}]
    result = {"sentences": 9, "words": 30, "rows": rows, "machine": {"cores": 2}}
    printed = benchmark_tokenization.table(result).splitlines()
    assert printed[0] == "9 sentences, 30 words" and printed[2].split() == [
        "bare",
        "12,375",
        "1.00",
    ]
