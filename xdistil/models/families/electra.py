"""ELECTRA, discriminators and generators: embeddings may be narrower than the layers."""

from xdistil.models.families.bert import BERT_DEFAULTS, BERT_SETTINGS, BERT_WEIGHTS
from xdistil.models.families.family import Family

ELECTRA = Family(
    name="electra",
    class_stem="Electra",
    prefix="electra.",
    scopes=("embeddings.", "embeddings_project.", "encoder."),
    settings={**BERT_SETTINGS, "embedding_dim": "embedding_size"},
    weights={**BERT_WEIGHTS, "embeddings.projection": "embeddings_project"},
    text_head="classifier.out_proj",
    pooler="classifier.dense",
    pooler_activation="gelu",
    pooler_in_encoder=False,
    masked_lm={
        "mlm_dense": ("generator_predictions.dense",),
        "mlm_norm": ("generator_predictions.LayerNorm",),
        "mlm_bias": ("generator_lm_head.bias",),
        "mlm_decoder": ("generator_lm_head.weight",),
    },
    masked_lm_activation="gelu",
    other_heads=(
        "discriminator_predictions.",
        "generator_predictions.",
        "generator_lm_head.",
        "qa_outputs.",
    ),
    defaults={**BERT_DEFAULTS, "embedding_dim": 128},
)
