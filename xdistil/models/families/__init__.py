"""Families of checkpoints: how each names its weights and settings; one file a family."""

from xdistil.models.families.bert import BERT
from xdistil.models.families.family import Family

#: By the `model_type` of a checkpoint's config.json.
FAMILIES: dict[str, Family] = {family.name: family for family in (BERT,)}

__all__ = ["FAMILIES", "Family"]
