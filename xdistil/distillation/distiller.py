"""`Distiller`: trains a student on the weighted sum of its losses."""

from collections.abc import Mapping, Sequence
from typing import Any

import keras
import tensorflow as tf

from xdistil.distillation.losses import ATTENTIONS, DistillationLoss
from xdistil.distillation.projections import Projections, projection_layers
from xdistil.distillation.replica_iterators import untuned, untuned_iterators

Batch = tuple[Mapping[str, Any], Mapping[str, Any]]


class Distiller(keras.Model):
    """Trains a student by distillation: masked losses, an exact mean over all devices.

    The teacher's outputs come with the batch (`targets["logits"]`, `targets["hidden_states"]`,
    computed once, see `xdistil.distillation.compute_targets`), or from `teacher`, which then runs
    in each step. Against `keras.distillation.Distiller` this one knows masks, teacher targets from
    disk, a single student pass a step, and a loss that is divided by the global sum of weights, so
    that padding, batch size and the number of replicas do not change it.

    Args:
        student: The model to train, called on the features; built already.
        distillation_losses: The terms, `DistillationLoss` objects with distinct names.
        distillation_loss_weights: A weight per term. Defaults to 1 each.
        teacher: Model to run in each step where the targets hold no outputs of it. It is frozen.
        projections: Where the linear maps are kept that losses learn beside the student; those of
            another Distiller go on learning. Default: fresh ones.

    Call arguments:
        features: dict of int32 tensors `(batch_size, length)`, see `xdistil.data`.

    Raises:
        ValueError: If there is no loss, two have one name, or the weights differ in number.

    Example:
        ```python
        distiller = xdistil.Distiller(
            student,
            distillation_losses=[xdistil.LabelCrossEntropy(), xdistil.LogitsRegression()],
            teacher=teacher,
        )
        distiller.compile(optimizer=keras.optimizers.Adam(1e-3))
        distiller.fit(batches, epochs=3)
        student.save("student.keras")
        ```

    Reference:
        XtremeDistil, arXiv:2004.05686, section 3.
    """

    def __init__(
        self,
        student: keras.Model,
        distillation_losses: Sequence[DistillationLoss],
        distillation_loss_weights: Sequence[float] | None = None,
        teacher: keras.Model | None = None,
        projections: Projections | None = None,
        **kwargs: Any,
    ):
        # Keras scales the loss where this model's own policy is mixed_float16.
        super().__init__(**{"dtype": student.dtype_policy, **kwargs})
        losses = tuple(distillation_losses)
        weights = tuple(distillation_loss_weights or [1.0] * len(losses))
        names = [loss.name for loss in losses]
        if not losses or len(set(names)) != len(names):
            raise ValueError(f"The losses need distinct names, at least one; received {names}.")
        if len(weights) != len(losses):
            raise ValueError(f"{len(losses)} losses need as many weights, received {len(weights)}.")
        self.student = student
        self.teacher = teacher
        if teacher is not None:
            teacher.trainable = False
        self.distillation_losses = losses
        self.distillation_loss_weights = weights
        self.projections = (projections or Projections()).of(losses)
        reads = {name for loss in losses for name in loss.teacher_outputs}
        self._call_options = {"return_attentions": True} if ATTENTIONS in reads else {}
        self.term_metrics = [keras.metrics.Mean(name=name) for name in names]
        self._gradient_function = self._losses_and_gradients
        self._update_function = self._update
        self.built = True

    @property
    def learnt_variables(self) -> list[keras.Variable]:
        """What a step changes: the student's trainable variables, and those of projections."""
        return [
            *self.student.trainable_variables,
            *(
                v
                for layer in projection_layers(self.projections)
                for v in layer.trainable_variables
            ),
        ]

    @property
    def metrics(self) -> list[keras.metrics.Metric]:
        return list(self.term_metrics)

    def compile(self, optimizer: Any = "adam", jit_compile: bool = False, **kwargs: Any) -> None:
        """Configures training.

        Args:
            optimizer: Keras optimizer or its name; `FusedAdam`, `FusedAdamW` and `FusedAdadelta`
                are Keras' own in less time, where XLA compiles nothing. Its state is made for the
                student's variables that are trainable now; compile again after freezing or
                unfreezing layers.
            jit_compile: Compiles by XLA: forward pass and gradients once per shape of batch, the
                update once. Under a strategy the update never is; with several replicas forward
                pass and gradients always are.
            **kwargs: Further arguments of `keras.Model.compile`, such as `steps_per_execution`.
        """
        super().compile(optimizer=optimizer, loss=None, jit_compile=False, **kwargs)
        self._gradient_function = self._losses_and_gradients
        self._update_function = self._update
        # Several replicas always go through XLA: traced into one graph without it, two CPU replicas
        # took steps that differed from run to run once a replica's share held empty rows alone.
        # Their update meets the other replicas, which XLA cannot compile.
        replicas = self.distribute_strategy.num_replicas_in_sync
        if jit_compile or replicas > 1:
            self._gradient_function = tf.function(
                self._losses_and_gradients, jit_compile=True, autograph=False
            )
        with self.distribute_strategy.scope():
            # Under one, of one device too, an update is not computed inside another function.
            strategy = tf.distribute.has_strategy()
        if jit_compile and not strategy:
            self._update_function = tf.function(self._update, jit_compile=True, autograph=False)
        with self.distribute_strategy.scope():
            self.optimizer.build(self.learnt_variables)

    def fit(self, x: Any = None, *args: Any, **kwargs: Any) -> keras.callbacks.History:
        """`keras.Model.fit`, without its wait for tf.data's autotuning after each epoch."""
        if "validation_data" in kwargs:
            kwargs["validation_data"] = untuned(kwargs["validation_data"])
        with untuned_iterators(self.distribute_strategy):
            return super().fit(untuned(x), *args, **kwargs)

    def evaluate(self, x: Any = None, *args: Any, **kwargs: Any) -> Any:
        """`keras.Model.evaluate`, without the wait at its end."""
        with untuned_iterators(self.distribute_strategy):
            return super().evaluate(untuned(x), *args, **kwargs)

    def call(self, features: Mapping[str, Any], training: bool = False) -> dict[str, Any]:
        return self.student(features, training=training)

    def train_step(self, data: Batch) -> dict[str, tf.Tensor]:
        features, targets = data
        weights, totals = self._weigh(features, targets)
        sums, gradients = self._gradient_function(features, targets, weights, totals)
        self._update_function(gradients)
        return self._update_metrics(sums, weights, totals)

    def test_step(self, data: Batch) -> dict[str, tf.Tensor]:
        features, targets = data
        weights, totals = self._weigh(features, targets)
        sums = self._sums(features, targets, weights, training=False)
        return self._update_metrics(sums, weights, totals)

    @property
    def overflows(self) -> bool:
        """Whether the loss is scaled below itself, and gradients are still beyond float16: NaN."""
        scale = getattr(self.optimizer, "dynamic_scale", None)
        return scale is not None and float(keras.ops.convert_to_numpy(scale)) < 1

    @property
    def steps_taken(self) -> int:
        """Steps of the optimizer, without those that float16 has left out."""
        return int(keras.ops.convert_to_numpy(self.optimizer.iterations))

    def _weigh(
        self, features: Mapping[str, Any], targets: Mapping[str, Any]
    ) -> tuple[list[tf.Tensor], list[tf.Tensor]]:
        """Weights per position of each term, and their sums over all replicas."""
        weights = [loss.position_weights(features, targets) for loss in self.distillation_losses]
        totals = tf.stack([tf.reduce_sum(w) for w in weights])
        replica = tf.distribute.get_replica_context()
        if replica is not None and replica.num_replicas_in_sync > 1:
            totals = replica.all_reduce(tf.distribute.ReduceOp.SUM, totals)
        return weights, tf.unstack(totals)

    def _sums(
        self,
        features: Mapping[str, Any],
        targets: Mapping[str, Any],
        weights: Sequence[tf.Tensor],
        training: bool,
    ) -> list[tf.Tensor]:
        """Weighted sum of each term over this replica's positions."""
        student_outputs = self.student(features, training=training, **self._call_options)
        teacher_outputs = targets if self.teacher is None else self._teach(features)
        targets = {**targets, "padding_mask": features["padding_mask"]}
        sums = []
        for loss, weight in zip(self.distillation_losses, weights, strict=True):
            outputs = loss.project(student_outputs, self.projections.get(loss.name, {}))
            sums.append(tf.reduce_sum(loss.values(teacher_outputs, outputs, targets) * weight))
        return sums

    def _teach(self, features: Mapping[str, Any]) -> dict[str, Any]:
        return keras.tree.map_structure(
            tf.stop_gradient, dict(self.teacher(features, training=False, **self._call_options))
        )

    def _losses_and_gradients(
        self,
        features: Mapping[str, Any],
        targets: Mapping[str, Any],
        weights: Sequence[tf.Tensor],
        totals: Sequence[tf.Tensor],
    ) -> tuple[list[tf.Tensor], list[tf.Tensor]]:
        variables = [variable.value for variable in self.learnt_variables]
        with tf.GradientTape() as tape:
            sums = self._sums(features, targets, weights, training=True)
            loss = tf.add_n(
                [
                    factor * tf.math.divide_no_nan(value, total)
                    for factor, value, total in zip(
                        self.distillation_loss_weights, sums, totals, strict=True
                    )
                ]
            )
            loss = self.optimizer.scale_loss(loss)
        gradients = tape.gradient(loss, variables, unconnected_gradients="zero")
        return sums, [tf.convert_to_tensor(gradient) for gradient in gradients]

    def _update(self, gradients: list[tf.Tensor]) -> None:
        gradients = self._add_up_and_clip(gradients)
        self.optimizer.apply_gradients(zip(gradients, self.learnt_variables, strict=True))

    def _add_up_and_clip(self, gradients: list[tf.Tensor]) -> list[tf.Tensor]:
        """Clips the gradients' sum over replicas, as the optimizer would clip them.

        Keras clips each replica's part before it adds them up, which depends on how the batch was
        dealt out, and looks for overflow of scaled losses in one replica alone. What is returned
        adds up to the clipped sum, too small to be clipped again, and is finite in all replicas or
        in none.
        """
        replica = tf.distribute.get_replica_context()
        if replica is None or replica.num_replicas_in_sync == 1:
            return gradients
        scaled = isinstance(self.optimizer, keras.optimizers.LossScaleOptimizer)
        optimizer = self.optimizer.inner_optimizer if scaled else self.optimizer
        limit = optimizer.global_clipnorm or optimizer.clipnorm or optimizer.clipvalue
        if not limit and not scaled:
            return gradients
        gradients = replica.all_reduce(tf.distribute.ReduceOp.SUM, gradients)
        if limit:
            scale = self.optimizer.dynamic_scale if scaled else self.optimizer.loss_scale_factor
            limit = limit * (1.0 if scale is None else tf.convert_to_tensor(scale))
            if optimizer.global_clipnorm:
                gradients, _ = tf.clip_by_global_norm(gradients, limit)
            elif optimizer.clipnorm:
                gradients = [tf.clip_by_norm(gradient, limit) for gradient in gradients]
            else:
                gradients = [tf.clip_by_value(gradient, -limit, limit) for gradient in gradients]
        return [gradient / replica.num_replicas_in_sync for gradient in gradients]

    def _update_metrics(
        self, sums: Sequence[tf.Tensor], weights: Sequence[tf.Tensor], totals: Sequence[tf.Tensor]
    ) -> dict[str, tf.Tensor]:
        # A term's metric is its mean over all positions seen. The total is the weighted sum of the
        # terms' means over an epoch, so it is derived from them and never drifts with batch sizes.
        for metric, value, weight in zip(self.term_metrics, sums, weights, strict=True):
            count = tf.reduce_sum(weight)
            metric.update_state(tf.math.divide_no_nan(value, count), sample_weight=count)
        return self.get_metrics_result()

    def get_metrics_result(self) -> dict[str, tf.Tensor]:
        """Mean of each term over all positions since the last reset, and their weighted sum."""
        terms = {metric.name: metric.result() for metric in self.term_metrics}
        loss = tf.add_n(
            [
                factor * value
                for factor, value in zip(
                    self.distillation_loss_weights, terms.values(), strict=True
                )
            ]
        )
        return {"loss": loss, **terms}

    def make_train_function(self, force: bool = False) -> Any:
        if self.train_function is None or force:
            self.train_function = self._make_loop(self.train_step, self.steps_per_execution)
        return self.train_function

    def make_test_function(self, force: bool = False) -> Any:
        if self.test_function is None or force:
            self.test_function = self._make_loop(self.test_step, self.steps_per_execution)
        return self.test_function

    def _make_loop(self, step: Any, steps: int) -> Any:
        # The stock loop fails under MultiWorkerMirroredStrategy, and under MirroredStrategy with
        # several steps an execution or an uneven first batch; and with several steps it loses the
        # logs of an epoch's last ones, unless they are as many. This one does none of it.
        strategy = self.distribute_strategy

        @tf.autograph.experimental.do_not_convert
        def on_batch(batch: Any) -> dict[str, tf.Tensor]:
            # Else what needs no batch, such as to count a step, runs at the end of the data too.
            with tf.control_dependencies(tf.nest.flatten(batch, expand_composites=True)):
                logs = strategy.run(step, args=(batch,))
            return {
                name: strategy.reduce(tf.distribute.ReduceOp.MEAN, value, axis=None)
                for name, value in logs.items()
            }

        if steps > 1 and not self.run_eagerly:
            on_batch = tf.function(on_batch, autograph=False)  # traced once for both calls

        @tf.autograph.experimental.do_not_convert
        def one_step(iterator: Any) -> dict[str, tf.Tensor]:
            return on_batch(next(iterator))

        def loop(iterator: Any) -> dict[str, tf.Tensor]:
            logs = on_batch(next(iterator))
            for _ in tf.range(steps - 1):
                batch = iterator.get_next_as_optional()
                if not batch.has_value():
                    break
                logs = on_batch(batch.get_value())
            return logs

        function = one_step if steps == 1 else loop
        return function if self.run_eagerly else tf.function(function, autograph=steps > 1)

    def _maybe_symbolic_build(self, iterator: Any = None, data_batch: Any = None) -> None:
        # Built by its constructor; the symbolic build of Keras fails under a strategy.
        return
