"""Teachers and students: `keras.Model` subclasses with one contract of outputs."""

from xdistil.models.bilstm import BiLSTMStudent
from xdistil.models.bilstm_text import BiLSTMTextStudent
from xdistil.models.encoder import EncoderConfig
from xdistil.models.masked_lm import MaskedLM
from xdistil.models.siamese_bilstm import SiameseBiLSTMStudent
from xdistil.models.teacher import Teacher
from xdistil.models.text_teacher import TextTeacher
from xdistil.models.transformer import TransformerStudent
from xdistil.models.transformer_text import TransformerTextStudent

__all__ = [
    "BiLSTMStudent",
    "BiLSTMTextStudent",
    "EncoderConfig",
    "MaskedLM",
    "SiameseBiLSTMStudent",
    "Teacher",
    "TextTeacher",
    "TransformerStudent",
    "TransformerTextStudent",
]
