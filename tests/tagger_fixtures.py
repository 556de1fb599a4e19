"""A small tagger with random weights, and text that is hard to split into pieces."""

from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
import pytest

from xdistil.data.encoding import TextEncoder, train_wordpiece
from xdistil.data.examples import TaggedSentence
from xdistil.data.labels import Labels
from xdistil.export.saved_model import export_saved_model
from xdistil.models import BiLSTMStudent
from xdistil.tasks import Tagging, TrainedModel

SENTENCES = (
    "Ada Lovelace wrote to Charles Babbage , who lived in London .",
    "Die Straße nach Köln ist lang ; Jürgen fährt über Weißenfels .",
    "El niño José vive en Córdoba , cerca de la plaza de España .",
    "Zażółć gęślą jaźń : Łukasz mieszka w Łodzi .",
    "Анна живёт в Санкт-Петербурге , а её брат Йосиф в Киеве .",
    "Η Ελένη ζει στη Θεσσαλονίκη , ο Οδυσσέας στην Αθήνα .",
    "İstanbul'da yaşayan Işıl Iğdır'a gitti .",
    "東京 に 住む 田中さん は 京都大学 で 働く 。",
    "王小明住在北京市海淀区。",
    "سافر أحمد من القاهرة إلى بَغْدَاد ، ثم عاد .",
    "서울에 사는 김민수는 부산으로 갔다 .",
    "สมชายอยู่ที่กรุงเทพมหานคร และ เชียงใหม่",
    "राम दिल्ली में रहता है और सीता मुंबई में ।",
    "Rút went to Ọ̀yọ́ and Ìbàdàn with Adébáyọ̀ .",
)

HOSTILE = (
    "",
    " ",
    "\t \n \r\u3000\u2003",
    "\x00",
    "a\x00b c\x01d \x7f",
    "👩‍👩‍👧‍👦 👍🏽 🇩🇪 😀😀",
    "zero\u200bwidth join\u200der soft\u00adhyphen \ufeffmark \u200e \u2060",
    "e\u0301 a\u0308\u0323 \u0301 o\u0302\u0303\u0304 \u0345\u0344",
    "Straße STRASSE ẞ ﬁne ﬂow ŉ ǰ",
    "İ I ı i̇ İSTANBUL Iğdır",
    "ΟΔΟΣ ΣΑΣ ΑΣ. Σ ς σ ΆΣ",
    "\u1100\u1161\u11a8 각 한국어 ㅎㅏㄴ",
    "Å Å Ω Ω K K ﷺ ㎏ ½ ²",
    "北京\u3000上海 𠀀𪜀𫝀𫠠 㐀 豈 々〇",
    "[SEP] [CLS] word [MASK] [PAD] [UNK] ##ing a[SEP]b [ SEP ]",
    "\ufffd a\ufffdb \ufffd\ufffd",
    "\ue000 a\ue000b \U000f0000 \U0010ffff \ufffe \ufdd0",
    "file\x1cgroup\x1drecord\x1eunit\x1fend line\x0btab\x0cfeed next\x85line",
    "a\u00a0b\u202fc\u2028d\u2029e\u205ff\u1680g",
    "x" * 100,
    "x" * 101,
    "x" * 100 + "." + "y" * 101 + "." + "z",
    "ж" * 100 + " " + "ж" * 101,
    "é" * 100 + " " + "é" * 101,
    "e\u0301" * 100,
    "\u200b".join("x" * 101),
    "北" * 150,
    "한" * 40,
    "https://example.org/" + "a/b-" * 80 + "?q=" + "z" * 120,
    "!" * 150,
    "ๅๆ ็ กำ",
    "U.S.A. don't -- 3,14 $5 €5 #tag @you a_b a^b `c` ~d |e",
    "\u061c؛؟ ߹ ༔ \U00016e97 \U0001e95e",
    "many " * 60,
)


def build_trained(encoder: TextEncoder, scheme: str = "words") -> TrainedModel:
    """A student whose random weights are large enough that every tag occurs."""
    labels = Labels.from_tags(["B-PER", "B-LOC", "B-ORG", "O"])
    task = Tagging(labels, encoder, scheme)
    student = BiLSTMStudent(
        encoder.vocabulary_size,
        task.num_classes,
        embedding_dim=12,
        hidden_dim=16,
        representation_dim=20,
    )
    numbers = np.random.default_rng(7)
    for weight in student.trainable_weights:
        weight.assign(numbers.normal(size=weight.shape))
    return TrainedModel(student, task)


@pytest.fixture(scope="session")
def make_trained() -> Callable[..., TrainedModel]:
    return build_trained


@pytest.fixture(scope="session")
def sentences() -> list[str]:
    return [*SENTENCES, *HOSTILE]


@pytest.fixture(scope="session")
def encoders() -> dict[str, TextEncoder]:
    """Learnt from the sentences above, so that accents and case make a difference."""
    text = [TaggedSentence(tuple(sentence.split())) for sentence in SENTENCES]
    return {
        "cased": train_wordpiece(text, 900, lower_case=False, seq_len=64),
        "uncased": train_wordpiece(text, 900, lower_case=True, seq_len=64),
    }


@pytest.fixture(scope="session")
def trained(encoders: dict[str, TextEncoder]) -> TrainedModel:
    keras.utils.set_random_seed(1)
    return build_trained(encoders["uncased"])


@pytest.fixture(scope="session")
def saved_model(trained: TrainedModel, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One export for all tests that only read it."""
    return export_saved_model(trained, tmp_path_factory.mktemp("export") / "saved_model")
