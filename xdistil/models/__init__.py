"""Teachers and students: `keras.Model` subclasses with one contract of outputs."""

from xdistil.models.bilstm import BiLSTMStudent
from xdistil.models.encoder import EncoderConfig
from xdistil.models.teacher import Teacher

__all__ = ["BiLSTMStudent", "EncoderConfig", "Teacher"]
