"""What the recipes on soft targets leave open, where nobody says otherwise.

Apart from the recipes, so that flags can tell it without TensorFlow.
"""

#: Of `kd`, `pkd_skip` and `pkd_last` (arXiv:1908.09355 searches 5, 10, 20), and of DistilBERT's
#: task step (arXiv:1910.01108).
TEMPERATURE, TEMPERATURE_OF_DISTILBERT = 10.0, 2.0
#: Weight of the soft targets; the labels have the rest.
ALPHA = 0.5
#: Weight of the hidden states in `pkd_skip` and `pkd_last`.
BETA = 100.0
