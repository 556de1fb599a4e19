"""DistilBERT and multilingual DistilBERT: BERT without segments and pooler, names of its own."""

from xdistil.models.families.family import Family

DISTILBERT = Family(
    name="distilbert",
    class_stem="DistilBert",
    prefix="distilbert.",
    scopes=("embeddings.", "transformer."),
    settings={
        "vocabulary_size": "vocab_size",
        "hidden_dim": "dim",
        "num_layers": "n_layers",
        "num_heads": "n_heads",
        "intermediate_dim": "hidden_dim",
        "max_length": "max_position_embeddings",
        "activation": "activation",
        "dropout": "dropout",
        "attention_dropout": "attention_dropout",
        "initializer_range": "initializer_range",
    },
    weights={
        "embeddings.token": "embeddings.word_embeddings",
        "embeddings.position": "embeddings.position_embeddings",
        "embeddings.norm": "embeddings.LayerNorm",
        "layers.{i}.attention.query": "transformer.layer.{i}.attention.q_lin",
        "layers.{i}.attention.key": "transformer.layer.{i}.attention.k_lin",
        "layers.{i}.attention.value": "transformer.layer.{i}.attention.v_lin",
        "layers.{i}.attention.output": "transformer.layer.{i}.attention.out_lin",
        "layers.{i}.attention.norm": "transformer.layer.{i}.sa_layer_norm",
        "layers.{i}.intermediate": "transformer.layer.{i}.ffn.lin1",
        "layers.{i}.output": "transformer.layer.{i}.ffn.lin2",
        "layers.{i}.output.norm": "transformer.layer.{i}.output_layer_norm",
    },
    pooler="pre_classifier",
    pooler_activation="relu",
    pooler_in_encoder=False,
    head_dropout="dropout",
    text_head_dropout="seq_classif_dropout",
    masked_lm={
        "mlm_dense": ("vocab_transform",),
        "mlm_norm": ("vocab_layer_norm",),
        "mlm_bias": ("vocab_projector.bias",),
        "mlm_decoder": ("vocab_projector.weight",),
    },
    other_heads=("vocab_transform.", "vocab_layer_norm.", "vocab_projector.", "qa_outputs."),
    # No segments; the epsilon stands in no config.json.
    defaults={
        "max_length": 512,
        "num_segments": 0,
        "activation": "gelu",
        "layer_norm_epsilon": 1e-12,
        "dropout": 0.1,
        "attention_dropout": 0.1,
        "initializer_range": 0.02,
    },
)
