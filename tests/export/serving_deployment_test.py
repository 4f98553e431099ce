"""The deployment that export/serving makes of a model is one that servers take."""

import os
import re
import shutil
import subprocess
import threading

import numpy as np
import pytest
import tensorflow as tf
import yaml
from google.protobuf import (
    descriptor_pb2,
    descriptor_pool,
    message_factory,
    text_format,
    wrappers_pb2,
)

import keras_bert_lib as kbl
from export.serving import make_deployment
from tests.export.model_server import ModelServer, rest_server
from tests.export.task_models import MAX_LENGTH, make_model, make_texts

TEXTS = [text.decode("utf-8", "ignore") for text in make_texts(40)]


def message_class(name, **fields):
    """A message of TensorFlow Serving that tensorflow-serving-api leaves out; by field types.

    References:
        - tensorflow_serving/servables/tensorflow/session_bundle_config.proto
        - tensorflow_serving/config/monitoring_config.proto
    """
    kinds = descriptor_pb2.FieldDescriptorProto
    file = descriptor_pb2.FileDescriptorProto(name=f"{name}.proto", syntax="proto3")
    file.dependency.append(wrappers_pb2.DESCRIPTOR.name)
    message = file.message_type.add(name=name)
    for number, (field, kind) in enumerate(fields.items(), start=1):
        of_message = isinstance(kind, str)
        message.field.add(
            name=field,
            number=number,
            type=kinds.TYPE_MESSAGE if of_message else abs(kind),
            type_name=kind if of_message else None,
            label=kinds.LABEL_REPEATED if field.startswith("allowed") else kinds.LABEL_OPTIONAL,
        )
    return file, message


def make_class(name, nested=None, **fields):
    file, message = message_class(name, **fields)
    if nested:
        message.nested_type.append(message_class(*nested[:1], **nested[1])[1])
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(wrappers_pb2.DESCRIPTOR.serialized_pb)
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(name))


INT64 = ".google.protobuf.Int64Value"
BatchingParameters = make_class(
    "BatchingParameters",
    max_batch_size=INT64,
    batch_timeout_micros=INT64,
    max_enqueued_batches=INT64,
    num_batch_threads=INT64,
    thread_pool_name=".google.protobuf.StringValue",
    allowed_batch_sizes=descriptor_pb2.FieldDescriptorProto.TYPE_INT64,
    pad_variable_length_inputs=descriptor_pb2.FieldDescriptorProto.TYPE_BOOL,
)
MonitoringConfig = make_class(
    "MonitoringConfig",
    prometheus_config=".MonitoringConfig.PrometheusConfig",
    nested=(
        "PrometheusConfig",
        {
            "enable": descriptor_pb2.FieldDescriptorProto.TYPE_BOOL,
            "path": descriptor_pb2.FieldDescriptorProto.TYPE_STRING,
        },
    ),
)


def deploy(model, output, *options):
    assert make_deployment.main([str(model), "--output", str(output), *options]) == 0
    return {path.name: path.read_text("utf-8") for path in output.iterdir()}


@pytest.fixture(scope="module")
def model_dir(tmp_path_factory):
    directory = tmp_path_factory.mktemp("serving") / "My_model"
    kbl.export.saved_model(make_model("label"), directory / "3")
    return directory


@pytest.fixture(scope="module")
def files(model_dir):
    return deploy(model_dir, model_dir.parent / "deployment", "--cpus", "2")


def test_batching_and_monitoring_are_the_servers_own_messages(files):
    parameters = text_format.Parse(files["batching.config"], BatchingParameters())
    assert parameters.max_batch_size.value == 32
    assert parameters.num_batch_threads.value == 2
    assert parameters.max_enqueued_batches.value == 100  # so small a model works off any queue
    assert parameters.HasField("batch_timeout_micros")
    assert not parameters.pad_variable_length_inputs
    assert not parameters.allowed_batch_sizes
    monitoring = text_format.Parse(files["monitoring.config"], MonitoringConfig())
    assert monitoring.prometheus_config.enable


@pytest.mark.parity
def test_models_config_is_the_servers_own_message(files):
    pytest.importorskip("tensorflow_serving", reason="pip install tensorflow-serving-api")
    from tensorflow_serving.config import model_server_config_pb2

    config = model_server_config_pb2.ModelServerConfig()
    text_format.Parse(files["models.config"], config)
    (model,) = config.model_config_list.config
    assert (model.name, model.base_path) == ("My_model", "/models/My_model")
    assert model.model_platform == "tensorflow"
    assert model.model_version_policy.latest.num_versions == 1
    # What the comments propose parses, too.
    rollout = re.sub(r"# +((model_version|version_|  ).*)", r"\1", files["models.config"])
    rollout = rollout.replace("model_version_policy { latest { num_versions: 1 } }", "")
    text_format.Parse(rollout, config := model_server_config_pb2.ModelServerConfig())
    (model,) = config.model_config_list.config
    assert list(model.model_version_policy.specific.versions) == [1, 2]
    assert dict(model.version_labels) == {"stable": 1, "canary": 2}


def test_compose_file(files, model_dir):
    (name, service), *others = yaml.safe_load(files["compose.yaml"])["services"].items()
    assert name == "my-model"
    assert not others
    assert "--tensorflow_intra_op_parallelism=2" in service["command"]
    given = [flag.partition("=") for flag in service["command"]]
    assert {path for flag, _, path in given if flag.endswith("_file")} == {
        f"/etc/serving/{config}" for config in make_deployment.CONFIGS
    }
    bind, *configs = service["volumes"]
    source = os.path.normpath(model_dir.parent / "deployment" / bind["source"])
    assert source == str(model_dir)
    assert bind["target"] == "/models/My_model"
    for config in configs:
        local, target, mode = config.split(":")
        assert os.path.basename(local) in files
        assert (os.path.dirname(target), mode) == ("/etc/serving", "ro")
    assert str(model_dir.parent) not in "".join(files.values())


def test_health_check_of_compose_asks_for_the_status(files, model_dir):
    if shutil.which("bash") is None:
        pytest.skip("bash is missing")
    command = yaml.safe_load(files["compose.yaml"])["services"]["my-model"]["healthcheck"]["test"]
    assert command[0] == "CMD"
    server = ModelServer({"My_model": model_dir})
    with rest_server(server) as url:
        command = [*command[1:-1], command[-1].replace("8501", url.rpartition(":")[2])]
        assert subprocess.run(command, check=False).returncode == 0
        server.models.clear()
        assert subprocess.run(command, check=False).returncode == 1
    assert subprocess.run(command, check=False, stderr=subprocess.DEVNULL).returncode == 1


def test_kubernetes_manifest(files):
    config, deployment, service = yaml.safe_load_all(files["kubernetes.yaml"])
    kinds = ["ConfigMap", "Deployment", "Service"]
    assert [config["kind"], deployment["kind"], service["kind"]] == kinds
    assert set(config["data"]) == set(make_deployment.CONFIGS)
    for name, content in config["data"].items():
        assert content.strip() == files[name].strip()
    pod = deployment["spec"]["template"]
    (container,) = pod["spec"]["containers"]
    for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
        assert container[probe]["httpGet"] == {"path": "/v1/models/My_model", "port": "rest"}
    assert (
        container["args"]
        == yaml.safe_load(files["compose.yaml"])["services"]["my-model"]["command"]
    )
    resources = container["resources"]
    assert resources["requests"]["cpu"] == "2"
    assert resources["requests"]["memory"] == resources["limits"]["memory"]
    assert resources["limits"]["memory"] == "512Mi"  # a server, and next to nothing
    assert pod["metadata"]["labels"] == deployment["spec"]["selector"]["matchLabels"]
    assert pod["metadata"]["labels"] == service["spec"]["selector"]
    assert pod["spec"]["volumes"][0]["configMap"]["name"] == config["metadata"]["name"]
    ports = {port["name"] for port in container["ports"]}
    assert {port["targetPort"] for port in service["spec"]["ports"]} == ports
    assert container["image"] == "my-model:3"
    assert "COPY 3 /models/My_model/3" in files["Dockerfile"]


@pytest.mark.parity
def test_kubernetes_schema(files):
    validate = pytest.importorskip("kubernetes_validate")
    for item in yaml.safe_load_all(files["kubernetes.yaml"]):
        validate.validate(item, validate.latest_version(), strict=True)


@pytest.mark.parity
def test_docker_reads_the_compose_file(files, model_dir):
    if shutil.which("docker") is None:
        pytest.skip("docker is missing")
    command = ["docker", "stack", "config", "-c", model_dir.parent / "deployment" / "compose.yaml"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert yaml.safe_load(done.stdout)["services"]["my-model"]["healthcheck"]["test"][0] == "CMD"


@pytest.mark.slow
def test_texts_of_several_requests_can_be_one_batch(files, model_dir):
    """TensorFlow's own batch scheduler, which the server uses, with these parameters."""
    parameters = text_format.Parse(files["batching.config"], BatchingParameters())
    loaded = tf.saved_model.load(str(model_dir / "3"))
    sizes = []

    def answer(text):
        tf.py_function(lambda x: sizes.append(len(x)), [text], [])
        outputs = loaded.signatures["serving_default"](text=text)
        return outputs["probabilities"], outputs["label"]

    batched = tf.nondifferentiable_batch_function(
        num_batch_threads=1,  # so that requests have to wait for each other
        max_batch_size=parameters.max_batch_size.value,
        batch_timeout_micros=20_000,
        max_enqueued_batches=parameters.max_enqueued_batches.value,
        autograph=False,
        enable_large_batch_splitting=False,
    )(answer)
    function = tf.function(batched, input_signature=[tf.TensorSpec([None], tf.string)])
    function.get_concrete_function()
    found = [None] * 20
    start = threading.Barrier(20)

    def ask(i):
        start.wait()
        found[i] = function(tf.constant(TEXTS[2 * i : 2 * i + 1 + i % 2]))

    threads = [threading.Thread(target=ask, args=(i,)) for i in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(sizes) == 30
    assert len(sizes) < 20  # some were put together
    for i, (probabilities, label) in enumerate(found):
        alone = loaded.signatures["serving_default"](
            text=tf.constant(TEXTS[2 * i : 2 * i + 1 + i % 2])
        )
        np.testing.assert_allclose(probabilities, alone["probabilities"], atol=1e-5)
        assert label.numpy().tolist() == alone["label"].numpy().tolist()


def test_numbers_follow_the_model_and_the_cpus(model_dir, tmp_path):
    model = make_deployment.read_model(model_dir / "3")
    assert model["max_length"] == MAX_LENGTH
    assert model["can_batch"]
    # What was exported in 16 bits, for fewer tokens than there are positions.
    kbl.export.saved_model(
        make_model("label"), tmp_path / "half" / "1", max_length=9, weights="bfloat16"
    )
    half = make_deployment.read_model(tmp_path / "half" / "1")
    assert half["max_length"] == 9
    assert half["parameter_bytes"] == model["parameter_bytes"]
    bert = {  # of BERT-base, 12 layers of 768
        "can_batch": True,
        "parameter_bytes": 4 * 110_000_000,
        "flops": 2 * 85_000_000,
        "attention_flops": 4 * 768 * 12,
        "token_bytes": 4 * (3072 + 8 * 768),
        "attention_bytes": 2 * 4 * 24,
        "max_length": 512,
    }
    short = {**bert, "max_length": 128}
    queues = [make_deployment.batching(x, cpus=4)["max_enqueued_batches"] for x in (bert, short)]
    assert 4 <= queues[0] < queues[1] < 100
    assert make_deployment.batching(bert, cpus=32)["max_enqueued_batches"] > queues[0]
    sizes = [make_deployment.memory(short, cpus, versions) for cpus, versions in [(2, 1), (2, 2)]]
    assert 1200 < sizes[0] < 2500
    assert abs(sizes[1] - sizes[0] - 2 * 440e6 / 2**20) <= 64


def test_newest_version_of_many(model_dir, tmp_path, capsys):
    for version in ("3", "9", "10"):
        shutil.copytree(model_dir / "3", tmp_path / "m" / version)
    (tmp_path / "m" / "11").mkdir()  # not whole yet
    assert "/10" in deploy(tmp_path / "m", tmp_path / "out")["Dockerfile"]
    assert "/9" in deploy(tmp_path / "m" / "9", tmp_path / "out")["Dockerfile"]
    assert (
        "model-42-b" in deploy(tmp_path / "m", tmp_path / "out", "--name", "42.b")["compose.yaml"]
    )
    capsys.readouterr()
    wrong = [
        ([str(tmp_path)], "must hold versions"),
        ([str(tmp_path / "m"), "--name", "a/b"], "--name. Received: 'a/b'"),
        ([str(tmp_path / "m"), "--cpus", "0"], "--cpus must be at least 1. Received: 0"),
        ([str(tmp_path / "m" / "9")], "sizes.json, which tells the model's `max_length`. Export"),
    ]
    (tmp_path / "m" / "9" / "assets.extra" / "sizes.json").unlink()  # of an older library
    for arguments, message in wrong:
        assert make_deployment.main([*arguments, "--output", str(tmp_path / "no")]) == 2
        error = capsys.readouterr().err
        assert error.startswith("make_deployment: error: ")
        assert message in error
        assert error.count("\n") == 1
    assert not (tmp_path / "no").exists()


@pytest.mark.slow
@pytest.mark.parametrize("task", ["choice", "answerer", "tagger"])
def test_choices_are_not_batched(task, tmp_path):
    kbl.export.saved_model(make_model(task), tmp_path / "m" / "1")
    files = deploy(tmp_path / "m", tmp_path / "out")
    assert ("batching.config" in files) == (task != "choice")
    for file in ("compose.yaml", "kubernetes.yaml"):
        assert ("--enable_batching" in files[file]) == (task != "choice")
        assert ("batching.config" in files[file]) == (task != "choice")
