"""RoBERTa and XLM-R, which differ in nothing but their tokenizers: positions begin after padding's,
and what BERT calls a pooler is a part of the head."""

import dataclasses

from xdistil.models.families.bert import BERT_DEFAULTS, BERT_SETTINGS, BERT_WEIGHTS
from xdistil.models.families.family import Family

ROBERTA = Family(
    name="roberta",
    class_stem="Roberta",
    prefix="roberta.",
    scopes=("embeddings.", "encoder."),
    settings=BERT_SETTINGS,
    weights=BERT_WEIGHTS,
    text_head="classifier.out_proj",
    pooler="classifier.dense",
    pooler_in_encoder=False,
    masked_lm={
        "mlm_dense": ("lm_head.dense",),
        "mlm_norm": ("lm_head.layer_norm",),
        "mlm_bias": ("lm_head.bias", "lm_head.decoder.bias"),
        "mlm_decoder": ("lm_head.decoder.weight",),
    },
    masked_lm_activation="gelu",
    other_heads=("pooler.", "lm_head.", "qa_outputs."),
    defaults=BERT_DEFAULTS,
    positions_after_padding=True,
)

XLM_ROBERTA = dataclasses.replace(ROBERTA, name="xlm-roberta", class_stem="XLMRoberta")
