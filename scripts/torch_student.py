"""A BiLSTM student in PyTorch, with the same weights: the yardstick of the benchmarks.

PyTorch is no dependency: it is asked for inside these functions alone.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

#: Layer groups of a student by the names of PyTorch's modules.
_GROUPS = ("embedding", "bilstm", "dense", "head")


def torch_modules(student: Any) -> dict[str, Any]:
    """The layers that have weights, by group; on all cores."""
    import torch

    from xdistil import metrics

    torch.set_num_threads(metrics.thread_settings()["cores"])

    def tensor(variable: Any) -> Any:
        return torch.from_numpy(variable.numpy().copy())

    lstm = torch.nn.LSTM(
        student.embedding_dim, student.hidden_dim, batch_first=True, bidirectional=True
    )
    for direction, suffix in (("forward", ""), ("backward", "_reverse")):
        kernel, recurrent, bias = (
            tensor(getattr(student.bilstm, f"{direction}_{part}"))
            for part in ("kernel", "recurrent_kernel", "bias")
        )
        # The gates have the same order in both.
        for name, value in (
            ("weight_ih_l0", kernel.T),
            ("weight_hh_l0", recurrent.T),
            ("bias_ih_l0", bias),
            ("bias_hh_l0", torch.zeros_like(bias)),
        ):
            getattr(lstm, name + suffix).data.copy_(value)
    lstm.flatten_parameters()
    modules = {
        "embedding": torch.nn.Embedding.from_pretrained(
            tensor(student.embedding.embeddings), freeze=False
        ),
        "bilstm": lstm,
    }
    for name in ("dense", "head"):
        layer = getattr(student, name)
        modules[name] = torch.nn.Linear(*layer.kernel.shape)
        modules[name].weight.data.copy_(tensor(layer.kernel).T)
        modules[name].bias.data.copy_(tensor(layer.bias))
    return modules


def torch_call(student: Any) -> Callable[[Mapping[str, np.ndarray]], Any]:
    """From ids `(batch, length)` without padding to logits."""
    import torch

    modules = torch_modules(student)

    def call(given: Mapping[str, np.ndarray]) -> Any:
        with torch.inference_mode():
            states, _ = modules["bilstm"](
                modules["embedding"](torch.from_numpy(given["token_ids"]))
            )
            hidden = torch.nn.functional.gelu(modules["dense"](states), approximate="tanh")
            return modules["head"](hidden)

    return call


def torch_epoch(
    student: Any, batches: Sequence[tuple[Any, Any]], learning: Sequence[str], rate: float
) -> Callable[[], float]:
    """Steps of Adam on logits at word starts, as `LogitsRegression` weighs them.

    Nothing is packed and no state is masked, so padding costs what it costs at best, and the
    backward direction begins in it: less work than ours.

    Args:
        student: Whose weights it begins with, and whose dropout it has.
        batches: `(features, targets)` of arrays, all in memory.
        learning: Layer groups that learn.
        rate: Learning rate.

    Returns:
        A function that takes an epoch's steps and returns the last loss.
    """
    import torch

    modules = torch_modules(student)
    for name in _GROUPS:
        modules[name].requires_grad_(name in learning)
    optimizer = torch.optim.Adam(
        [weight for name in learning for weight in modules[name].parameters()], lr=rate
    )
    held = [
        (
            torch.from_numpy(np.asarray(features["token_ids"])),
            torch.from_numpy(np.asarray(targets["logits"], np.float32)),
            torch.from_numpy(np.asarray(features["word_starts"], np.float32)),
        )
        for features, targets in batches
    ]
    drop = torch.nn.Dropout(student.dropout)

    def epoch() -> float:
        for token_ids, wanted, weights in held:
            optimizer.zero_grad()
            embedded = modules["embedding"](token_ids)
            # As here: what is frozen runs without dropout.
            states, _ = modules["bilstm"](drop(embedded) if "bilstm" in learning else embedded)
            hidden = modules["dense"](drop(states))
            logits = modules["head"](drop(torch.nn.functional.gelu(hidden, approximate="tanh")))
            values = 0.5 * ((logits - wanted) ** 2).sum(dim=-1)
            loss = (values * weights).sum() / weights.sum()
            loss.backward()
            optimizer.step()
        return float(loss.detach())

    return epoch
