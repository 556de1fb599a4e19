"""ALBERT: one layer's weights for all layers, and embeddings of a width of their own."""

from xdistil.models.families.bert import BERT_DEFAULTS, BERT_SETTINGS
from xdistil.models.families.family import Family

_LAYER = "encoder.albert_layer_groups.0.albert_layers.0"

ALBERT = Family(
    name="albert",
    class_stem="Albert",
    prefix="albert.",
    scopes=("embeddings.", "encoder."),
    settings={**BERT_SETTINGS, "embedding_dim": "embedding_size"},
    weights={
        "embeddings.token": "embeddings.word_embeddings",
        "embeddings.position": "embeddings.position_embeddings",
        "embeddings.segment": "embeddings.token_type_embeddings",
        "embeddings.norm": "embeddings.LayerNorm",
        "embeddings.projection": "encoder.embedding_hidden_mapping_in",
        "layers.{i}.attention.query": f"{_LAYER}.attention.query",
        "layers.{i}.attention.key": f"{_LAYER}.attention.key",
        "layers.{i}.attention.value": f"{_LAYER}.attention.value",
        "layers.{i}.attention.output": f"{_LAYER}.attention.dense",
        "layers.{i}.attention.norm": f"{_LAYER}.attention.LayerNorm",
        "layers.{i}.intermediate": f"{_LAYER}.ffn",
        "layers.{i}.output": f"{_LAYER}.ffn_output",
        "layers.{i}.output.norm": f"{_LAYER}.full_layer_layer_norm",
    },
    pooler="pooler",
    head_dropout="classifier_dropout_prob",
    masked_lm={
        "mlm_dense": ("predictions.dense",),
        "mlm_norm": ("predictions.LayerNorm",),
        "mlm_bias": ("predictions.bias", "predictions.decoder.bias"),
        "mlm_decoder": ("predictions.decoder.weight",),
    },
    other_heads=("pooler.", "predictions.", "sop_classifier.", "qa_outputs."),
    # The projection is there also where both widths are the same.
    defaults={
        **BERT_DEFAULTS,
        "embedding_dim": 128,
        "activation": "gelu_new",
        "dropout": 0.0,
        "attention_dropout": 0.0,
        "project_embeddings": True,
        "shared_layers": True,
    },
    # Several groups of layers, or several layers a group, are in no published checkpoint.
    required={"num_hidden_groups": 1, "inner_group_num": 1},
)
