"""Distil BERT-like teachers into small, fast students."""
