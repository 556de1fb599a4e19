"""Families of checkpoints: how each names its weights and settings; one file a family."""

from xdistil.models.families.albert import ALBERT
from xdistil.models.families.bert import BERT
from xdistil.models.families.distilbert import DISTILBERT
from xdistil.models.families.electra import ELECTRA
from xdistil.models.families.family import Family
from xdistil.models.families.roberta import ROBERTA, XLM_ROBERTA

#: By the `model_type` of a checkpoint's config.json.
FAMILIES: dict[str, Family] = {
    family.name: family for family in (ALBERT, BERT, DISTILBERT, ELECTRA, ROBERTA, XLM_ROBERTA)
}

__all__ = ["FAMILIES", "Family"]
