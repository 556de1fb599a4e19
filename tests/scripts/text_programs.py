"""The programs on texts as a user starts them, small settings for them, and made-up rows."""

import sys
from pathlib import Path

import numpy as np
from forked_programs import as_text, run_forked

ROOT = Path(__file__).parents[2]
WORDS = {
    "weather": ("rain", "sun", "snow", "wind", "storm", "cloud"),
    "food": ("bread", "soup", "rice", "apple", "cheese", "salt"),
}
TINY = [
    "--teacher=scratch",
    "--teacher_layers=1",
    "--teacher_hidden_dim=16",
    "--teacher_heads=2",
    "--teacher_vocabulary=200",
    "--teacher_epochs=12",
    "--teacher_learning_rate=5e-3",
    "--teacher_batch_size=16",
    "--seq_len=24",
    "--hidden_dim=8",
    "--epochs=2",
    "--batch_size=16",
    "--nomeasure_latency",
]


def rows(split, pairs):
    """Made-up texts: what they are about decides the class (of a pair, whether both agree)."""
    draw = np.random.default_rng(["train", "dev", "test", "transfer"].index(split))
    for _ in range(64 if split in ("train", "transfer") else 24):
        topics = draw.choice([*WORDS], 2)
        texts = [" ".join(["today", *draw.choice(WORDS[topic], 3), "again"]) for topic in topics]
        if pairs:
            yield [*texts, "same" if topics[0] == topics[1] else "other"]
        else:
            yield [texts[0], topics[0]]


def command(kind, *flags):
    return [sys.executable, str(ROOT / "scripts" / f"run_{kind}.py"), *map(str, flags)]


def run(kind, *flags):
    return as_text(run_forked(command(kind, *flags)[1:]))


def error_of(done):
    lines = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert done.returncode == 2, done.stderr[-2000:]
    assert len(lines) == 1 and "Traceback" not in done.stderr, done.stderr[-2000:]
    return lines[0]
