"""The benchmarks' arithmetic, and that they start, kill and read runs as they say."""

import json
import shlex
import subprocess
import sys
import types
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from xdistil.errors import InputError
from xdistil.metrics import Latencies

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "a subject comes first"),
        (["--json=x"], "a subject comes first"),
        (["colour"], "'colour' is no subject"),
        (["students"], "reuse_from"),
        (
            ["students", "--reuse_from=r", "--work_dir=w", "--sizes=50"],
            "'50' is no size; expected E and H such as 50x200",
        ),
        (["speedup", "--batch_sizes=32,a"], "expected whole numbers from 1, e.g. 32,1"),
        (["speedup", "--runtimes=foo"], "expected one or several of graph,xla,frozen,onnx"),
        (["speedup", "--embedding_dim=0"], "--embedding_dim=0"),
        (["order", "--reuse_from=r", "--work_dir=w"], "total_epochs"),
        (["seeds", "--work_dir=w", "--variants=--recipe=hard"], "is no new `name=flags`"),
        (["seeds", "--work_dir=w", "--variants=a=--x", "--seeds=1,b"], "expected whole numbers"),
    ],
)
def test_a_wrong_command_is_refused_in_one_line(arguments, message):
    command = [sys.executable, str(SCRIPTS / "benchmark.py"), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, cwd=SCRIPTS.parent)
    assert done.returncode == 2
    assert message in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_run_tells_its_status_its_memory_and_its_output(stand_in, tmp_path):
    import benchmark_runs

    stand_in("import sys\nblock = bytearray(300_000_000)\nprint(sys.argv[1:])\nsys.exit(3)\n")
    finished = benchmark_runs.run_program(["--seed=1"], log=tmp_path / "log")
    assert finished.status == 3
    assert finished.peak_memory_bytes >= 300_000_000
    assert (tmp_path / "log").read_text() == "['--seed=1']\n"


def test_a_run_is_killed_at_its_moment(stand_in, tmp_path):
    import benchmark_runs

    stand_in("import time\ntime.sleep(60)\n")
    finished = benchmark_runs.run_program([], log=tmp_path / "log", kill_after=0.5)
    assert finished.status == -9
    assert 0.5 <= finished.seconds < 30


def test_a_run_that_ends_before_the_moment_is_left_alone(stand_in, tmp_path):
    import benchmark_runs

    stand_in("")
    assert benchmark_runs.run_program([], log=tmp_path / "log", kill_after=50).status == 0


def test_a_run_that_fails_ends_the_benchmark_with_its_last_line(stand_in, tmp_path):
    import benchmark_runs

    stand_in("import sys\nprint('error: no such file', end='\\n\\n')\nsys.exit(2)\n")
    with pytest.raises(InputError, match="status 2: error: no such file"):
        benchmark_runs.run_to_the_end([], log=tmp_path / "log")


def test_the_synthetic_corpus_is_tagged_right_and_the_same_each_time(tmp_path):
    from benchmark_runs import write_synthetic_corpus

    for name in ("a", "b"):
        flags = write_synthetic_corpus(
            tmp_path / name, transfer_sentences=50, labeled_sentences=30, seed=3
        )
    assert len(flags) == 5
    for path in (tmp_path / "a").iterdir():
        assert path.read_bytes() == (tmp_path / "b" / path.name).read_bytes()
    lines = (tmp_path / "a" / "train.tsv").read_text().splitlines()
    tags = Counter()
    for line in lines:
        words, line_tags = (part.split() for part in line.split("\t"))
        assert len(words) == len(line_tags)
        tags.update(line_tags)
    assert len(lines) == 30
    assert set(tags) == set((tmp_path / "a" / "labels.tsv").read_text().split())
    assert len((tmp_path / "a" / "transfer.txt").read_text().splitlines()) == 50


@pytest.mark.parametrize("pairs", [False, True])
def test_the_synthetic_texts_are_labeled_and_the_same_each_time(tmp_path, pairs):
    from benchmark_runs import write_synthetic_texts

    for name in ("a", "b"):
        flags = write_synthetic_texts(tmp_path / name, labeled_texts=60, pairs=pairs)
    assert flags == [f"--data_dir={tmp_path / 'b'}"]
    for path in (tmp_path / "a").iterdir():
        assert path.read_bytes() == (tmp_path / "b" / path.name).read_bytes()
    rows = [row.split("\t") for row in (tmp_path / "a" / "train.tsv").read_text().splitlines()]
    assert len(rows) == 60 and {len(row) for row in rows} == {2 + pairs}
    assert {row[-1] for row in rows} == ({"same", "other"} if pairs else {"PER", "LOC", "ORG"})


def test_moments_lie_one_in_each_part_of_the_run():
    from benchmark_resume import kill_moments

    moments = kill_moments(100.0, 5, seed=4)
    assert moments == kill_moments(100.0, 5, seed=4)
    for i, moment in enumerate(moments):
        assert 5 + 18 * i <= moment <= 5 + 18 * (i + 1)


def test_only_runs_that_were_killed_count():
    from benchmark_resume import tally

    trials = [
        {"kills": 1, "equal": True},
        {"kills": 0, "equal": True},
        {"kills": 3, "equal": False},
    ]
    assert tally(trials) == {"killed_runs": 2, "equal_runs": 1}


def test_a_resume_trial_kills_runs_again_and_compares_the_weights(stand_in, tmp_path, report):
    import benchmark_resume

    # The first time it hangs, then it goes on and ends: a run with one checkpoint.
    stand_in(
        "import json, pathlib, sys, time\n"
        "folder = pathlib.Path(sys.argv[1].split('=')[1])\n"
        "first = not folder.exists()\n"
        "(folder / 'student').mkdir(parents=True, exist_ok=True)\n"
        "(folder / 'config.json').write_text('{}')\n"
        "first and time.sleep(60)\n"
        "(folder / 'student' / 'model.safetensors').write_bytes(b'weights')\n"
        f"(folder / 'report.json').write_text({json.dumps(report)!r})\n"
    )
    (tmp_path / "weights").write_bytes(b"weights")
    expected = benchmark_resume.sha256(tmp_path / "weights")
    trial = benchmark_resume._trial(tmp_path, "killed-1", [], [1.5], expected)
    assert (trial["kills"], trial["equal"], trial["teacher_passes"]) == (1, True, 1)
    # Called again, it begins anew: what is there already would prove nothing.
    trial = benchmark_resume._trial(tmp_path, "killed-1", [], [1.5], "other")
    assert (trial["kills"], trial["equal"]) == (1, False)
    result = {"seconds": 3.0, "sha256": expected, "trials": [trial], **benchmark_resume.tally([])}
    assert "DIFFERENT" in benchmark_resume.table(result)


def test_memory_is_compared_by_its_ratio():
    import benchmark_memory

    rows = [
        {"transfer_sentences": n, "peak_memory_bytes": peak, "seconds": 1.0}
        for n, peak in ((10, 1000), (100, 1150))
    ]
    result = {"runs": rows, **benchmark_memory.compare(rows)}
    assert (result["ratio"], result["within_limit"]) == (1.15, True)
    assert "10.0 times the text; ratio 1.150, within the limit" in benchmark_memory.table(result)
    rows[1]["peak_memory_bytes"] = 1200
    assert "ABOVE" in benchmark_memory.table({"runs": rows, **benchmark_memory.compare(rows)})


def test_recipes_share_out_the_same_number_of_epochs_and_none_stops_early():
    from benchmark_order import recipe_flags

    flags = recipe_flags({"D4.2": 9, "D1": 1}, 36)
    assert flags["D4.2"][0] == "--recipe=D4.2"
    assert "--logits_epochs=4" in flags["D4.2"]
    assert "--labels_epochs=36" in flags["D1"]
    assert all("--patience=0" in of_recipe for of_recipe in flags.values())


@pytest.mark.parametrize(("epochs", "fitting"), [(8, 18), (19, 36), (27, 36)])
def test_epochs_that_the_stages_do_not_divide_are_refused(epochs, fitting):
    from benchmark_order import recipe_flags

    with pytest.raises(InputError, match=rf"D4\.2 has 9, D1 has 2.* that can is {fitting}$"):
        recipe_flags({"D4.2": 9, "D1": 2}, epochs)


def test_the_order_holds_only_where_each_recipe_beats_the_next():
    from benchmark_order import in_order

    assert in_order([{"metric": 0.9}, {"metric": 0.8}, {"metric": 0.7}])
    assert not in_order([{"metric": 0.9}, {"metric": 0.9}])
    assert in_order([{"metric": 0.9}, {"metric": None}]) is None


def test_an_order_that_does_not_come_out_is_said_aloud(report):
    import benchmark_order
    from benchmark_variants import summary

    rows = [summary(name, report) for name in ("D4.2", "D1")]
    text = benchmark_order.table({"rows": rows, "in_order": benchmark_order.in_order(rows)})
    assert text.endswith("D4.2 > D1: DOES NOT HOLD")


def test_stages_are_those_of_the_recipe_and_an_unknown_one_is_refused():
    from benchmark_order import stages_of

    assert len(stages_of("D4.2")) == 9
    with pytest.raises(InputError, match=r"D9"):
        stages_of("D9")


def test_variants_run_with_their_flags_and_their_reports_are_compared(stand_in, tmp_path, report):
    import benchmark_students
    import benchmark_variants

    stand_in(
        "import pathlib, sys\n"
        "folder = pathlib.Path(sys.argv[-1].split('=')[1])\n"
        "folder.mkdir(parents=True, exist_ok=True)\n"
        f"(folder / 'report.json').write_text({json.dumps(report)!r})\n"
        "print(sys.argv[1:-1])\n"
    )
    rows = benchmark_variants.compare_runs(
        {"20x100": benchmark_students.size_flags("20x100")},
        run_flags=["--seed=2"],
        reuse_from="other",
        work_dir=tmp_path / "work",
    )
    assert (tmp_path / "work" / "20x100.log").read_text() == (
        "['--seed=2', '--embedding_dim=20', '--hidden_dim=100', '--reuse_from=other']\n"
    )
    assert rows[0]["metric"] == 0.8
    assert rows[0]["milliseconds"] == {"1": 2.0}
    assert (rows[0]["stages"], rows[0]["epochs"], rows[0]["steps"]) == (3, 6, 60)
    line = benchmark_variants.table({"rows": rows}).splitlines()[1].split()
    assert line == ["20x100", "80.00", "100.0%", "100", "10.0x", "2.00", "3", "6", "60", "2.0"]


def test_students_of_both_kinds_have_names_and_flags_of_their_own():
    from benchmark_students import transformer_flags, variants

    assert variants(["2x16"], ["2x16"], ["--seed=3"]) == {
        "2x16": ["--embedding_dim=2", "--hidden_dim=16", "--nomeasure_latency"],
        "transformer-2x16": [
            *("--student=transformer", "--num_layers=2", "--hidden_dim=16"),
            *("--embedding_dim=16", "--seed=3", "--nomeasure_latency"),
        ],
    }
    with pytest.raises(InputError, match=r"--transformers: '2x' is no size; .* such as 3x160"):
        transformer_flags("2x")


def test_students_are_timed_in_turns_each_in_its_fastest_runtime(tmp_path, monkeypatch):
    import benchmark_students
    from benchmark_inference import as_tagger

    from xdistil.metrics import Latencies
    from xdistil.models.bilstm import BiLSTMStudent

    flags = types.SimpleNamespace(
        runtimes=["graph", "xla"], batch_sizes=["1", "2"], sequence_length=8, repeats=3
    )
    for module in ("benchmark_students", "benchmark_speedup"):
        monkeypatch.setattr(f"{module}.FLAGS", flags)
    folders = {}
    for name, hidden_dim in (("small", 4), ("large", 256)):
        student = BiLSTMStudent(
            40, 3, embedding_dim=4, hidden_dim=hidden_dim, representation_dim=hidden_dim
        )
        as_tagger(student).save(tmp_path / name / "student")
        folders[name] = tmp_path / name
    milliseconds = {"small graph": 3, "small xla": 2, "large graph": 5, "large xla": 7}
    together = []

    def measured(calls, **kwargs):
        for call in calls.values():
            call()
        together.append(set(calls))
        factor = len(together)
        return Latencies({name: (1e-3 * factor * milliseconds[name],) * 3 for name in calls})

    monkeypatch.setattr("xdistil.metrics.measure_latency", measured)
    times = benchmark_students.side_by_side(folders)
    assert together == [set(milliseconds)] * 2
    expected = {"small": {"1": 2, "2": 4}, "large": {"1": 5, "2": 10}}
    assert times == {name: pytest.approx(row) for name, row in expected.items()}


def test_the_student_to_be_timed_keeps_as_many_pieces_as_asked():
    import benchmark_speedup

    from xdistil.metrics import count_parameters
    from xdistil.models.bilstm import BiLSTMStudent

    class Teacher:
        vocabulary_size, num_classes, hidden_dim = 100, 11, 16

    student = benchmark_speedup.build_student(Teacher, 5, 20, kept_pieces=40)
    assert len(np.unique(student.kept_token_ids)) == 40
    assert student.kept_token_ids[0] == 0
    assert count_parameters(student) == BiLSTMStudent.expected_parameters(40, 5, 20, 16, 11)
    for kept_pieces in (0, 88_480):  # all of them; more than there are
        whole = benchmark_speedup.build_student(Teacher, 5, 20, kept_pieces)
        assert count_parameters(whole) == BiLSTMStudent.expected_parameters(100, 5, 20, 16, 11)


def test_the_speed_up_is_printed_with_what_it_was_measured_on():
    import benchmark_speedup

    result = {
        "teacher_parameters": 177_271_307,
        "teacher_parameters_with_pooler": 177_861_899,
        "student_parameters": 5_142_027,
        "compression": 34.475,
        "compression_with_pooler": 34.59,
        "latency": [
            {
                "batch_size": 32,
                "sequence_length": 32,
                "teacher_ms": 1500.0,
                "student_ms": 25.0,
                "speedup": 60.0,
                "teacher_runtime": "frozen",
                "student_runtime": "xla",
            }
        ],
        "times": [
            {
                "batch_size": 32,
                "calls": {"student xla": {"median_ms": 25.0, "min_ms": 24.0, "max_ms": 30.0}},
            }
        ],
        "matmul_gflops": {"1024": 50.2, "2048": 60.4},
        "machine": {"cores": 2, "devices": "CPU"},
    }
    text = benchmark_speedup.table(result)
    assert "34.48x" in text or "34.47x" in text
    assert "34.59x" in text
    assert "60.0x" in text
    assert "50 at 1024, 60 at 2048" in text
    assert "cores 2, devices CPU" in text


# Tags every word O; of the SavedModel, "Turin" is a place.
PREDICT = """
import sys
import types
flags = dict(argument[2:].split("=") for argument in sys.argv[1:])
place = "B-LOC" if flags["model"] == "export" else "O"
with open(flags["input"]) as lines, open(flags["output"], "w") as output:
    for line in lines:
        words = line.split()
        tags = [place if word == "Turin" else "O" for word in words]
        print(" ".join(words), " ".join(tags), sep="\\t", file=output)
"""


def test_the_export_is_compared_sentence_by_sentence_and_file_by_file(tmp_path, monkeypatch):
    import benchmark_export

    (tmp_path / "predict.py").write_text(PREDICT)
    monkeypatch.setattr(benchmark_export, "PREDICT", tmp_path / "predict.py")
    tagged, plain = tmp_path / "a.tsv", tmp_path / "b.txt"
    tagged.write_text("Ada lives\tB-PER O\nin\tO\nleft out\tO O\n")
    plain.write_text("Nothing here\n\nAda lives in Turin\n")
    files, text = [str(tagged), str(plain)], tmp_path / "text"
    counts = benchmark_export.write_sentences(files, text, 2)
    assert text.read_text() == "Ada lives\nin\nNothing here\nAda lives in Turin\n"
    keras, tagged = (
        benchmark_export.predict(model, text, tmp_path / "out") for model in ("run", "export")
    )
    result = benchmark_export.compare(files, counts, keras, tagged)
    assert [row["differing"] for row in result["rows"]] == [0, 1]
    assert result["shown"][0]["sentence"] == 2
    same = benchmark_export.compare(files, counts, keras, keras) | {"logits": 2e-7}
    printed = benchmark_export.table({"exports": {"saved_model": result, "onnx": same}})
    assert "saved_model    Ada lives in Turin\tO O O B-LOC" in printed
    assert printed.splitlines()[-2:] == [
        "4 sentences, Keras against saved_model: 1 DIFFER",
        "4 sentences, Keras against onnx: the same for all; logits within 2.0e-07",
    ]
    with pytest.raises(InputError, match="the export wrote 3 lines for 4 sentences"):
        benchmark_export.compare(files, counts, keras, tagged[1:])


def test_texts_and_pairs_are_written_as_predict_reads_them(tmp_path):
    import benchmark_export

    (tmp_path / "a.csv").write_text('"Rain, again",weather\nPlay,music\n')
    (tmp_path / "b.tsv").write_text("Rain\tSun\tother\n")
    (tmp_path / "c.txt").write_text("Snow\n\nWind\n")
    read = benchmark_export.sentences_of
    assert list(read(str(tmp_path / "a.csv"), "classification")) == ["Rain, again", "Play"]
    assert list(read(str(tmp_path / "b.tsv"), "pair_classification")) == ["Rain\tSun"]
    assert list(read(str(tmp_path / "c.txt"), "classification")) == ["Snow", "Wind"]


def test_a_prediction_that_fails_ends_the_benchmark_with_its_last_line(tmp_path, monkeypatch):
    import benchmark_export

    (tmp_path / "predict.py").write_text("import sys\nsys.exit('error: no SavedModel in it')\n")
    monkeypatch.setattr(benchmark_export, "PREDICT", tmp_path / "predict.py")
    with pytest.raises(InputError, match="--model=run ended with status 1: no SavedModel"):
        benchmark_export.predict("run", tmp_path, tmp_path)


def test_seeds_share_a_teacher_and_are_averaged(stand_in, tmp_path, monkeypatch, report):
    import benchmark_seeds

    stand_in(
        "import json, pathlib, sys\n"
        "flags = dict(flag[2:].split('=', 1) for flag in sys.argv[1:])\n"
        "report = json.loads(flags['report'])\n"
        "report['student']['test']['f1'] = float(flags['plus']) + int(flags['seed']) / 10\n"
        "report['stages'][-1]['dev_metric'] = int(flags['seed']) / 4\n"
        "assert ('reuse_from' in flags) == (flags['plus'] == '0.5')\n"
        "folder = pathlib.Path(flags['output_dir'])\n"
        "folder.mkdir()\n"
        "(folder / 'report.json').write_text(json.dumps(report))\n"
    )
    given = {
        "variants": "a=--plus=0.1; b=--plus=0.5",
        "seeds": ["1", "3"],
        "run_flags": shlex.join([f"--report={json.dumps(report)}"]),
        "work_dir": str(tmp_path / "work"),
        "program": "classification",
    }
    monkeypatch.setattr(benchmark_seeds, "FLAGS", types.SimpleNamespace(**given))
    result = benchmark_seeds.measure()
    means = {row["name"]: round(row["mean"], 6) for row in result["rows"]}
    assert means == {"teacher": 0.8, "a": 0.3, "b": 0.7}
    assert result["rows"][1]["deviation"] == pytest.approx(0.2 / 2**0.5)
    printed = benchmark_seeds.table(result)
    header, teacher, _, second = (line for line in printed.splitlines() if line.split())
    assert "fewer" in header and second.split()[:4] == ["b", "50.00", "70.00", "14.14"]
    assert teacher.split()[1] == teacher.split()[-1] == "-"


def test_inference_counts_the_operations_of_all_matrix_products():
    import benchmark_inference

    model = types.SimpleNamespace(
        embedding_dim=3, hidden_dim=2, representation_dim=5, num_classes=7
    )
    # Two directions of (3 + 2) x 8, then 4 x 5 and 5 x 7; each multiplication with an addition.
    assert benchmark_inference.flops(model, 1, 1) == 2 * (2 * 5 * 8 + 4 * 5 + 5 * 7)
    assert benchmark_inference.flops(model, 4, 3) == 12 * benchmark_inference.flops(model, 1, 1)


def test_inference_is_held_against_the_faster_yardstick_round_by_round():
    import benchmark_inference

    latencies = Latencies({"xla": (4.0, 6.0, 4.0), "onnx": (2.0, 2.0, 4.0), "torch": (9.0,) * 3})
    found = benchmark_inference.against(latencies, ["xla", "onnx", "torch"])
    assert (found["xla"], found["onnx"]) == (2.0, 1.0)
    assert benchmark_inference.against(latencies, ["xla"]) == {}
    row = {"size": "50x200", "length": 32, "batch_size": 1, "limit_ms": 0.5, "apart": 2e-7}
    row |= {"ms": {"xla": 4.0}, "limit_ratio": {"xla": 8.0}, "against_yardstick": {"xla": 2.0}}
    result = {"rows": [row], "missing": ["torch"], "matmul_gflops": 171.2, "machine": {"cores": 2}}
    printed = benchmark_inference.table(result)
    assert "50x200      32      1      0.50  4.00" in printed
    assert "at most 2.0e-07 apart; not installed: torch" in printed


def test_the_distance_of_two_students_is_that_of_their_worst_tensor(tmp_path):
    from benchmark_devices import distance, table
    from safetensors.numpy import save_file

    arrays = {"a": np.full(4, 2.0, np.float32), "b": np.zeros(3, np.float32)}
    save_file(arrays, tmp_path / "one")
    save_file({**arrays, "a": np.float32([2, 2, 2, 2.4])}, tmp_path / "two")
    assert distance(tmp_path / "one", tmp_path / "one") == 0
    assert distance(tmp_path / "one", tmp_path / "two") == pytest.approx(0.1)
    for scale, found in ((1e-6, 2e-6), (1e-3, 2.0)):  # what next to nothing moved is no ratio
        for name, sign in (("one", 1), ("two", -1)):
            save_file({**arrays, "b": np.float32([sign * scale] * 3)}, tmp_path / name)
        assert distance(tmp_path / "one", tmp_path / "two") == pytest.approx(found)
    save_file({"a": arrays["a"]}, tmp_path / "other")
    with pytest.raises(InputError, match="hold other tensors"):
        distance(tmp_path / "one", tmp_path / "other")
    row = {"program": "ner", "recipe": "D1", "stages": 1, "learned": 1, "steps": 1234}
    row["distance"] = {"mirrored": 2e-6}
    text = table({"rows": [row], "equal": 1, "compared": 1, "tolerance": 1e-5})
    assert "ner  D1           1        1  1,234   2.0e-06" in text
    assert text.endswith("1 of 1 students within 1e-05 of the one of one device")


def test_workers_of_a_benchmark_have_a_port_each():
    from benchmark_devices import cluster

    configs = [json.loads(config) for config in cluster(2)]
    assert [config["task"]["index"] for config in configs] == [0, 1]
    assert configs[0]["cluster"] == configs[1]["cluster"]
    assert len(set(configs[0]["cluster"]["worker"])) == 2


def test_memory_is_compared_with_that_after_the_first_tenth():
    from benchmark_stream import growth

    points = [{"resident_bytes": size} for size in (500, 100, 105, *[109] * 17)]
    assert growth(points) == {"ratio": 1.09, "limit": 1.1, "within_limit": True}
    assert not growth([*points, {"resident_bytes": 111}])["within_limit"]


def test_text_is_streamed_through_encoding_and_the_writer(monkeypatch, capsys):
    import benchmark_stream

    given = {"sentences": 6_000, "seed": 0, "work_dir": None}
    monkeypatch.setattr(benchmark_stream, "FLAGS", types.SimpleNamespace(**given))
    result = benchmark_stream.measure()
    assert result["sentences"] == 6_000 and result["bytes_written"] > 6_000 * 10
    assert "sentences a second" in benchmark_stream.table(result)


def test_help_lists_the_subjects_and_a_subjects_flags():
    def printed(*arguments):
        command = [sys.executable, str(SCRIPTS / "benchmark.py"), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    every = printed("--help")
    assert every.returncode == 0 and "benchmark.py grid" in every.stdout
    one = printed("grid", "--help")
    assert one.returncode == 0 and "--grid:" in one.stdout and "--work_dir" in one.stdout
