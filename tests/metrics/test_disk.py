"""The benchmark of full disks: what it calls named."""

from pathlib import Path

RUN = Path("/disk/run")
LINE = f"error: {RUN}/stages/01-logits/done: cannot write: No space left on device. Make room\n"


def test_a_full_disk_is_one_line_that_names_the_file():
    from benchmark_disk import judge

    found = judge(RUN, 2, f"x\n{LINE}")
    assert found["file"] == "stages/01-logits/done" and found["named"]
    found = judge(RUN, 2, LINE.replace("/stages/01-logits/done", ""))
    assert found["file"] == "." and found["named"]
    for status, said in (
        (1, LINE),
        (2, LINE + LINE),
        (2, f"Traceback (most recent call last):\n{LINE}"),
        (2, "error: something is wrong\n"),
        (2, "error: /disk/run/x: cannot write: Permission denied\n"),
        (2, LINE.replace("/disk/run", "/elsewhere")),
        (-9, ""),
    ):
        assert not judge(RUN, status, said)["named"], said
    assert judge(RUN, 1, "ValueError: bad\n") == {
        "file": None,
        "named": False,
        "said": ["ValueError: bad"],
    }


def test_the_tally_counts_what_could_not_be_written():
    from benchmark_disk import table

    trials = [{"file": file, "named": True} for file in ("b", "a", "b")]
    trials.append({"file": None, "named": False})
    text = table({"trials": trials, "equal": True, "teacher_passes": 1})
    assert [line.split() for line in text.splitlines()[1:4]] == [["?", "1"], ["a", "1"], ["b", "2"]]
    assert "3 of 4 full disks named; at the end the same student, 1 teacher passes" in text
    assert "ANOTHER STUDENT" in table({"trials": trials, "equal": False, "teacher_passes": None})
