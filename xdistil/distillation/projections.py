"""Linear maps that are learnt with a loss, and are no part of the student."""

from collections.abc import Mapping, Sequence

import keras

from xdistil.distillation.losses import DistillationLoss
from xdistil.distillation.seeds import derive_seed


class Projections:
    """The linear maps that losses ask for, made when they are first asked for.

    The stages of a run share them: a loss of the same name and widths goes on with the maps of the
    stage before. What a fresh one holds depends on `seed` and its name alone.

    Args:
        seed: Of the run.
    """

    def __init__(self, seed: int = 0):
        self.seed = seed
        self._layers: dict[tuple, keras.layers.Dense] = {}

    def of(self, losses: Sequence[DistillationLoss]) -> dict[str, Mapping[str, keras.Layer]]:
        """Name of each loss that has maps -> its maps by their names."""
        return {
            loss.name: {
                name: self._layer(loss.name, name, widths)
                for name, widths in loss.projections.items()
            }
            for loss in losses
            if loss.projections
        }

    def _layer(self, loss: str, name: str, widths: tuple[int, int]) -> keras.layers.Dense:
        key = (loss, name, widths)
        if key not in self._layers:
            seed = derive_seed(self.seed, 0, f"projection {loss} {name}")
            # Float32 under mixed precision too, as the losses that read its output are.
            layer = keras.layers.Dense(
                widths[1],
                kernel_initializer=keras.initializers.GlorotUniform(seed),
                dtype="float32",
                name=f"{loss}_{name}",
            )
            layer.build((None, widths[0]))
            self._layers[key] = layer
        return self._layers[key]


def projection_layers(projections: Mapping[str, Mapping[str, keras.Layer]]) -> list[keras.Layer]:
    """The layers of `Projections.of`, in the order of their losses and names."""
    return [layer for layers in projections.values() for layer in layers.values()]
