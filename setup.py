"""How `xdistil` is installed; the tools' settings are in pyproject.toml."""

from pathlib import Path

import setuptools

# The lower bounds resolve together. To try them: `uv pip compile --resolution lowest-direct`,
# install what it prints, run pytest.
REQUIRED = [
    "absl-py>=2.1",
    "keras>=3.12",
    "keras-hub>=0.23",
    "ml-dtypes>=0.5.1",
    "numpy>=1.26",
    "safetensors>=0.4.3",
    "seqeval>=1.2.2",
    "tensorflow>=2.19",
    "tensorflow-text>=2.19",
    "tokenizers>=0.21",
    "tqdm>=4.66",
]

# Part-of-speech taggers with what they need inside the package. HanTa is LGPL, hence by itself.
ENGLISH_TAGGER = ["textblob>=0.18"]
GERMAN_TAGGER = ["HanTa>=1.2.1"]

ONNX = ["onnx>=1.17", "onnxruntime>=1.20"]
LITERT = ["ai-edge-litert>=1.4"]

EXTRAS = {
    "test": [
        *("pytest>=8", "pytest-xdist>=3.5", "ruff>=0.17,<0.18"),
        *(*ENGLISH_TAGGER, *GERMAN_TAGGER, *ONNX, *LITERT),
    ],
    "augmentation": ENGLISH_TAGGER,
    "augmentation-de": GERMAN_TAGGER,
    "hub": ["datasets>=3.0", "huggingface-hub>=0.26"],
    "onnx": ONNX,
    "litert": LITERT,
}

setuptools.setup(
    name="xdistil",
    version="0.1.0",
    description="Distil BERT-like teachers into small, fast students, with unlabeled text",
    long_description=(Path(__file__).parent / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    author="The xdistil authors",
    license="Apache-2.0",
    python_requires=">=3.11",
    packages=setuptools.find_packages(include=["xdistil", "xdistil.*"]),
    install_requires=REQUIRED,
    extras_require=EXTRAS,
    classifiers=[
        "Development Status :: 3 - Alpha",
        "Intended Audience :: Developers",
        "Intended Audience :: Science/Research",
        "Programming Language :: Python :: 3",
        "Topic :: Scientific/Engineering :: Artificial Intelligence",
        "Topic :: Text Processing :: Linguistic",
    ],
)
