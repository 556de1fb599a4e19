"""BERT, multilingual BERT, MiniLM and all that calls itself `bert` in config.json."""

from xdistil.models.families.family import Family

#: Field of `EncoderConfig` -> key of config.json; RoBERTa and ELECTRA took the keys over.
BERT_SETTINGS = {
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
}

#: Weights of embeddings and layers, as RoBERTa and ELECTRA name theirs too.
BERT_WEIGHTS = {
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
}

#: The settings of BERT-base, which older files of the hub leave out.
BERT_DEFAULTS = {
    "max_length": 512,
    "num_segments": 2,
    "activation": "gelu",
    "layer_norm_epsilon": 1e-12,
    "dropout": 0.1,
    "attention_dropout": 0.1,
    "initializer_range": 0.02,
}

BERT = Family(
    name="bert",
    class_stem="Bert",
    prefix="bert.",
    scopes=("embeddings.", "encoder."),
    settings=BERT_SETTINGS,
    weights=BERT_WEIGHTS,
    masked_lm={
        "mlm_dense": ("cls.predictions.transform.dense",),
        "mlm_norm": ("cls.predictions.transform.LayerNorm",),
        "mlm_bias": ("cls.predictions.bias", "cls.predictions.decoder.bias"),
        "mlm_decoder": ("cls.predictions.decoder.weight",),
    },
    other_heads=("pooler.", "cls.", "qa_outputs."),
    defaults=BERT_DEFAULTS,
)
