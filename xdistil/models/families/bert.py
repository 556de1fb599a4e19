"""BERT, multilingual BERT, MiniLM and all that calls itself `bert` in config.json."""

from xdistil.models.families.family import Family

BERT = Family(
    name="bert",
    prefix="bert.",
    scopes=("embeddings.", "encoder."),
    settings={
        "vocabulary_size": "vocab_size",
        "hidden_dim": "hidden_size",
        "num_layers": "num_hidden_layers",
        "num_heads": "num_attention_heads",
        "intermediate_dim": "intermediate_size",
        "max_length": "max_position_embeddings",
        "num_segments": "type_vocab_size",
        "activation": "hidden_act",
        "layer_norm_epsilon": "layer_norm_eps",
        "dropout": "hidden_dropout_prob",
        "attention_dropout": "attention_probs_dropout_prob",
        "initializer_range": "initializer_range",
    },
    weights={
        "embeddings.token": "embeddings.word_embeddings",
        "embeddings.position": "embeddings.position_embeddings",
        "embeddings.segment": "embeddings.token_type_embeddings",
        "embeddings.norm": "embeddings.LayerNorm",
        "layers.{i}.attention.query": "encoder.layer.{i}.attention.self.query",
        "layers.{i}.attention.key": "encoder.layer.{i}.attention.self.key",
        "layers.{i}.attention.value": "encoder.layer.{i}.attention.self.value",
        "layers.{i}.attention.output": "encoder.layer.{i}.attention.output.dense",
        "layers.{i}.attention.norm": "encoder.layer.{i}.attention.output.LayerNorm",
        "layers.{i}.intermediate": "encoder.layer.{i}.intermediate.dense",
        "layers.{i}.output": "encoder.layer.{i}.output.dense",
        "layers.{i}.output.norm": "encoder.layer.{i}.output.LayerNorm",
    },
    ignored=("position_ids", "token_type_ids"),
    other_heads=("pooler.", "cls.", "qa_outputs."),
    # The settings of BERT-base, which older files of the hub leave out.
    defaults={
        "max_length": 512,
        "num_segments": 2,
        "activation": "gelu",
        "layer_norm_epsilon": 1e-12,
        "dropout": 0.1,
        "attention_dropout": 0.1,
        "initializer_range": 0.02,
    },
)
