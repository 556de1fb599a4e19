"""Distil BERT-like teachers into small, fast students, on unlabeled text.

The names below are the public interface; each is imported when it is first used, so that reading
data or serving a SavedModel does not load Keras.
"""

import importlib
from typing import Any

__version__ = "0.1.0"

_HOME = {
    "BiLSTMStudent": "xdistil.models.bilstm",
    "BiLSTMTextStudent": "xdistil.models.bilstm_text",
    "SiameseBiLSTMStudent": "xdistil.models.siamese_bilstm",
    "TransformerStudent": "xdistil.models.transformer",
    "TransformerTextStudent": "xdistil.models.transformer_text",
    "Teacher": "xdistil.models.teacher",
    "TextTeacher": "xdistil.models.text_teacher",
    "Encoder": "xdistil.models.encoder",
    "write_checkpoint": "xdistil.models.checkpoint_writer",
    "MaskedLM": "xdistil.models.masked_lm",
    "masked_lm_student": "xdistil.models.masked_lm_student",
    "EncoderConfig": "xdistil.models.encoder",
    "TextEncoder": "xdistil.data.encoding",
    "Labels": "xdistil.data.labels",
    "TaggedSentence": "xdistil.data.examples",
    "LabeledText": "xdistil.data.examples",
    "read_labeled_text": "xdistil.data.text_readers",
    "read_unlabeled_text": "xdistil.data.text_readers",
    "encode_texts": "xdistil.data.pair_encoding",
    "encode_pairs": "xdistil.data.pair_encoding",
    "load_tagging_corpus": "xdistil.data.corpus",
    "load_text_corpus": "xdistil.data.corpus",
    "CorpusFiles": "xdistil.data.corpus",
    "CorpusLimits": "xdistil.data.corpus",
    "read_word_vectors": "xdistil.data.word_vectors",
    "vectors_matrix": "xdistil.data.word_vectors",
    "words_with_vectors": "xdistil.data.word_vectors",
    "word_encoder": "xdistil.data.word_vectors",
    "AugmentationSettings": "xdistil.data.augmentation",
    "Augmenter": "xdistil.data.augmentation",
    "PosTagger": "xdistil.data.pos_tagging",
    "pos_tagger_for": "xdistil.data.pos_tagging",
    "bucket_lengths": "xdistil.data.batching",
    "bucketed_batches": "xdistil.data.batching",
    "in_memory_dataset": "xdistil.data.batching",
    "MaskingSettings": "xdistil.data.masking",
    "Masker": "xdistil.data.masking",
    "TextSettings": "xdistil.data.pretraining_text",
    "write_pretraining_text": "xdistil.data.pretraining_text",
    "span_scores": "xdistil.metrics.spans",
    "Tagging": "xdistil.tasks.tagging",
    "Classification": "xdistil.tasks.classification",
    "PairClassification": "xdistil.tasks.classification",
    "classification_scores": "xdistil.metrics.classification",
    "TrainedModel": "xdistil.tasks.trained_model",
    "load": "xdistil.tasks.trained_model",
    "FusedAdadelta": "xdistil.distillation.fused_optimizers",
    "FusedAdam": "xdistil.distillation.fused_optimizers",
    "FusedAdamW": "xdistil.distillation.fused_optimizers",
    "Distiller": "xdistil.distillation.distiller",
    "DistillationLoss": "xdistil.distillation.losses",
    "LabelCrossEntropy": "xdistil.distillation.losses",
    "HardDistillation": "xdistil.distillation.losses",
    "LogitsRegression": "xdistil.distillation.losses",
    "RepresentationDistillation": "xdistil.distillation.losses",
    "SoftTargets": "xdistil.distillation.soft_targets",
    "PatientDistillation": "xdistil.distillation.hidden_states_distillation",
    "HiddenStatesDistillation": "xdistil.distillation.hidden_states_distillation",
    "AttentionDistillation": "xdistil.distillation.attention_distillation",
    "Stage": "xdistil.distillation.stages",
    "OptimizerSettings": "xdistil.distillation.stages",
    "format_stages": "xdistil.distillation.stages",
    "recipe": "xdistil.distillation.recipes",
    "RecipeSettings": "xdistil.distillation.recipes",
    "compute_targets": "xdistil.distillation.targets",
    "RunDirectory": "xdistil.distillation.run_directory",
    "DistillationData": "xdistil.distillation.run_settings",
    "DistillationRun": "xdistil.distillation.runner",
    "RunSettings": "xdistil.distillation.run_settings",
    "StudentSettings": "xdistil.distillation.student_settings",
    "TextStudentSettings": "xdistil.distillation.student_settings",
    "SiameseStudentSettings": "xdistil.distillation.student_settings",
    "TransformerStudentSettings": "xdistil.distillation.transformer_settings",
    "with_augmented": "xdistil.distillation.augmented_data",
    "TeacherSettings": "xdistil.distillation.run_settings",
    "AccumulatingDistiller": "xdistil.distillation.accumulating_distiller",
    "PretrainingRun": "xdistil.distillation.pretraining",
    "PretrainingSettings": "xdistil.distillation.pretraining_settings",
    "export_saved_model": "xdistil.export.saved_model",
    "export_classifier": "xdistil.export.classifier_saved_model",
    "export_hub": "xdistil.export.hub_checkpoint",
    "export_ids": "xdistil.export.ids_saved_model",
    "export_litert": "xdistil.export.litert_export",
    "export_onnx": "xdistil.export.onnx_export",
    "export_tagger": "xdistil.export.tagger_saved_model",
    "load_predictor": "xdistil.export.predictor",
}

__all__ = sorted(_HOME)


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'xdistil' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
