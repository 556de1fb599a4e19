"""Nothing that a folder holds is executed when it is loaded: poisoned ones are refused."""

import json
import shutil
import sys

import numpy as np
import pytest
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2

from xdistil.errors import InputError
from xdistil.export.predictor import load_predictor
from xdistil.models import Teacher
from xdistil.models.checkpoint_writer import write_checkpoint
from xdistil.models.encoder import EncoderConfig
from xdistil.tasks import load

TEXT = tf.TensorSpec((None,), tf.string, name="text")
WORDS = tf.TensorSpec((None, None), tf.string, name="words")


class Poisoned(tf.Module):
    """A SavedModel with the signatures of a tagger that does something beside."""

    def __init__(self, act):
        super().__init__()
        self.weight = tf.Variable(1.0)
        self.act = act

    def answer(self, strings):
        done = self.act(self)
        with tf.control_dependencies([done] if done is not None else []):
            return {"tags": tf.identity(strings)}

    @tf.function(input_signature=[TEXT])
    def of_text(self, text):
        return self.answer(text)

    @tf.function(input_signature=[WORDS])
    def of_words(self, words):
        return self.answer(words)


def by_writing(path):
    return lambda module: tf.io.write_file(str(path), "x")


def by_reading(path):
    return lambda module: tf.io.read_file(str(path))


def by_python(path):
    def act():
        path.write_text("x")
        return np.float32(0)

    return lambda module: tf.numpy_function(act, [], tf.float32)


def by_dataset(path):
    def act(module):
        return tf.data.TextLineDataset(str(path)).reduce(0, lambda count, line: count + 1)

    return act


def by_saving(path):
    def act(module):
        return tf.raw_ops.SaveV2(
            prefix=str(path),
            tensor_names=["a"],
            shape_and_slices=[""],
            tensors=[module.weight.read_value()],
        )

    return act


def by_table(path):
    def act(module):
        if not hasattr(module, "table"):
            with tf.init_scope():
                initializer = tf.lookup.TextFileInitializer(
                    str(path), tf.string, 0, tf.int64, tf.lookup.TextFileIndex.LINE_NUMBER
                )
                module.table = tf.lookup.StaticHashTable(initializer, -1)
        return module.table.lookup(tf.constant("a"))

    return act


@pytest.mark.parametrize(
    "way", [by_writing, by_reading, by_python, by_dataset, by_saving, by_table]
)
def test_a_saved_model_that_reaches_outside_is_not_loaded(way, tmp_path, monkeypatch):
    canary = tmp_path / "canary"
    if way in (by_dataset, by_table, by_reading):
        canary.write_text("a\nb\n")
    module = Poisoned(way(canary))
    folder = tmp_path / "model"
    signatures = {"serving_default": module.of_text, "words": module.of_words}
    tf.saved_model.save(module, str(folder), signatures=signatures)
    canary.unlink(missing_ok=True)
    monkeypatch.setattr(tf.saved_model, "load", lambda *_: pytest.fail("it was loaded"))
    with pytest.raises(InputError, match=r"saved_model\.pb: its operation .* it is not loaded"):
        load_predictor(folder, runtime="saved_model")
    assert not canary.exists()


def edited(saved_model, folder, edit):
    """A copy of a SavedModel with another graph."""
    shutil.copytree(saved_model, folder)
    (folder / "checksums.json").unlink()  # whoever changes a file can change its checksum
    model = saved_model_pb2.SavedModel()
    path = folder / "saved_model.pb"
    model.ParseFromString(path.read_bytes())
    edit(model.meta_graphs[0].graph_def.library.function)
    path.write_bytes(model.SerializeToString())
    return folder


def test_what_saves_the_model_is_called_by_nobody(saved_model, tmp_path):
    def call_the_saver(functions):
        names = [function.signature.name for function in functions]
        (saver,) = (name for name in names if "traced_save" in name)
        (caller,) = (f for f in functions if "serving_default" in f.signature.name)
        node = caller.node_def.add(name="more", op="StatefulPartitionedCall")
        node.attr["f"].func.name = saver

    folder = edited(saved_model, tmp_path / "calls", call_the_saver)
    with pytest.raises(InputError, match="calls what writes or reads the model's files"):
        load_predictor(folder, runtime="saved_model")


def test_the_saver_is_no_signature_and_no_initializer(saved_model, tmp_path):
    def open_model(edit):
        folder = tmp_path / edit.__name__
        shutil.copytree(saved_model, folder)
        (folder / "checksums.json").unlink()
        model = saved_model_pb2.SavedModel()
        model.ParseFromString((folder / "saved_model.pb").read_bytes())
        edit(model.meta_graphs[0])
        (folder / "saved_model.pb").write_bytes(model.SerializeToString())
        load_predictor(folder, runtime="saved_model")

    def saver_of(graph):
        names = (f.signature.name for f in graph.graph_def.library.function)
        return next(name for name in names if "traced_save" in name)

    def as_function(graph):
        graph.object_graph_def.nodes.add().function.concrete_functions.append(saver_of(graph))

    def as_bare_function(graph):
        bare = graph.object_graph_def.nodes.add().bare_concrete_function
        bare.concrete_function_name = saver_of(graph)

    def as_first_version(graph):
        graph.ClearField("object_graph_def")

    for edit, told in (
        (as_function, "writes or reads the model's files"),
        (as_bare_function, "writes or reads the model's files"),
        (as_first_version, "is no SavedModel of TensorFlow 2"),
    ):
        with pytest.raises(InputError, match=told):
            open_model(edit)


def test_an_operation_that_nobody_knows_is_refused(saved_model, tmp_path):
    def add(functions):
        functions[0].node_def.add(name="more", op="LaunchMissiles")

    folder = edited(saved_model, tmp_path / "unknown", add)
    with pytest.raises(InputError, match="operation LaunchMissiles may reach outside"):
        load_predictor(folder, runtime="saved_model")
    (folder / "saved_model.pb").write_bytes(b"\xff" * 40)
    with pytest.raises(InputError, match=r"saved_model\.pb: cannot be read"):
        load_predictor(folder, runtime="saved_model")


@pytest.fixture
def canary(tmp_path, monkeypatch):
    """A module that tells when it is imported or called."""
    (tmp_path / "canary.py").write_text(
        "import pathlib\n"
        "pathlib.Path(__file__).with_name('sung').touch()\n"
        "def sing(*_, **__):\n    return 'float32'\n"
        "class Sing:\n    def __init__(self, *_, **__): pass\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    yield tmp_path / "sung"
    sys.modules.pop("canary", None)


def poisoned_configs():
    made = {"module": "canary", "class_name": "Sing", "config": {"name": "float32"}}
    called = {"class_name": "function", "config": "sing", "module": "canary"}
    marshalled = {"class_name": "__lambda__", "config": {"code": "4wAAAA==", "defaults": None}}
    yield "dtype", "canary.sing"
    yield "dtype", {**made, "config": {"name": "canary.sing"}}
    yield "dtype", {"class_name": "Sing"}
    yield "dtype", [made]
    for value in (made, called, marshalled, [made], {"a": [called]}):
        for name in ("activation", "name", "hidden_dim", "encoder", "unheard_of"):
            yield name, value
    yield "name", {"encoder": {"activation": made}}


def test_a_configuration_builds_nothing_but_our_models(trained, tmp_path, canary):
    folder = tmp_path / "model"
    trained.save(folder)
    (folder / "checksums.json").unlink()  # whoever changes a file can change its checksum
    good = json.loads((folder / "config.json").read_text("utf-8"))
    # Keras' own form of a precision may name any class: only the precision's name is read.
    model = json.loads(json.dumps(good))
    model["model"]["config"]["dtype"] |= {"module": "canary", "class_name": "Sing"}
    (folder / "config.json").write_text(json.dumps(model))
    assert load(folder).model.dtype_policy.name == "float32"
    for name, value in poisoned_configs():
        model = json.loads(json.dumps(good))
        model["model"]["config"][name] = value
        (folder / "config.json").write_text(json.dumps(model))
        with pytest.raises(InputError, match=r"config\.json"):
            load(folder)
    for class_name in ("Sing", "canary.Sing", "Lambda", "keras.layers.Lambda", "__class__"):
        model = {**good, "model": {**good["model"], "class_name": class_name}}
        (folder / "config.json").write_text(json.dumps(model))
        with pytest.raises(InputError, match="unknown model class"):
            load(folder)
    task = {**good, "task": {**good["task"], "name": "canary.Sing"}}
    (folder / "config.json").write_text(json.dumps(task))
    with pytest.raises(InputError, match="unknown task"):
        load(folder)
    assert not canary.exists()


@pytest.fixture
def checkpoint(encoders, tmp_path):
    """A checkpoint in hub format."""
    folder = tmp_path / "checkpoint"
    encoder = encoders["cased"]
    encoder.save(folder)
    config = EncoderConfig(
        vocabulary_size=encoder.vocabulary_size, hidden_dim=8, num_layers=1, num_heads=2
    )
    write_checkpoint(folder, Teacher(config, num_classes=2).encoder, architecture="encoder")
    return folder


def test_code_beside_a_checkpoint_stays_where_it_is(checkpoint, canary):
    settings = json.loads((checkpoint / "config.json").read_text("utf-8"))
    settings["auto_map"] = {"AutoModel": "canary.Sing", "AutoConfig": "canary.Sing"}
    (checkpoint / "config.json").write_text(json.dumps(settings))
    shutil.copy(canary.with_name("canary.py"), checkpoint / "canary.py")
    # A pickle that would sing, beside the weights.
    (checkpoint / "pytorch_model.bin").write_bytes(b"ccanary\nsing\n(tR.")
    (checkpoint / "training_args.bin").write_bytes(b"ccanary\nsing\n(tR.")
    Teacher.from_preset(checkpoint, labels=["O", "B-X"])
    (checkpoint / "model.safetensors").unlink()
    with pytest.raises(InputError, match="a pickle, which can run code"):
        Teacher.from_preset(checkpoint, labels=["O", "B-X"])
    assert not canary.exists() and not (checkpoint / "sung").exists()


def test_the_pieces_of_a_checkpoint_lie_in_its_folder(checkpoint, tmp_path):
    shutil.move(checkpoint / "model.safetensors", tmp_path / "outside.safetensors")
    for name in ("../outside.safetensors", str(tmp_path / "outside.safetensors"), ".."):
        index = {"weight_map": {"embeddings.word_embeddings.weight": name}}
        (checkpoint / "model.safetensors.index.json").write_text(json.dumps(index))
        with pytest.raises(InputError, match="expected a bare file name"):
            Teacher.from_preset(checkpoint, labels=["O", "B-X"])
