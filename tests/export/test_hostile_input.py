"""Input that nobody would write, in Keras and in a SavedModel: an answer, in bounded memory."""

import pytest
from forked_programs import as_text, run_forked

# In a process of its own, which tells how much memory each kind of input has cost.
PROGRAM = """
import sys
from xdistil import load_predictor
from xdistil.metrics import peak_memory_bytes

predictor = load_predictor(*sys.argv[1:])
list(predictor.predict(["Ada lives in Turin"]))
for kind, inputs in {
    "nothing": [],
    "empty texts": ["", " ", ()] * 1000,
    "no text": ["\\x00\\ufffe\\U0010ffff " * 1000, "\\ud800 \\udfff" * 1000],
    "right to left": ["\\u202e\\u200f" * 5000 + "Ada", "\\u2067" * 5000],
    "emoji": ["\\U0001f469\\u200d\\U0001f469\\u200d\\U0001f467" * 5000],
    "a line of 10 MB": ["x" * 10_000_000],
    "10 MB of words": ["many words " * 900_000],
    "a million words": [("word",) * 1_000_000],
    "a million marks": ["e" + "\\u0301" * 1_000_000],
}.items():
    before = peak_memory_bytes()
    found = list(predictor.predict(inputs))
    words = [len(one if isinstance(one, tuple) else one.split()) for one in inputs]
    assert [len(one.tags) for one in found] == words, kind
    print(kind, (peak_memory_bytes() - before) >> 20, sep="\\t")
"""


@pytest.mark.parametrize("runtime", ["keras", "saved_model"])
def test_an_answer_comes_whatever_is_given(trained, saved_model, tmp_path, runtime):
    trained.save(tmp_path / "keras")
    (tmp_path / "program.py").write_text(PROGRAM)
    folder = saved_model if runtime == "saved_model" else tmp_path / "keras"
    done = as_text(run_forked([tmp_path / "program.py", folder, runtime], timeout=120))
    assert done.returncode == 0, done.stderr[-2000:]
    grown = dict(line.split("\t") for line in done.stdout.splitlines())
    assert len(grown) == 9
    assert all(int(megabytes) < 1500 for megabytes in grown.values()), grown
