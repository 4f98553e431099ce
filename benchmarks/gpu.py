"""Speed of a pretraining step on a GPU: this library on JAX and TensorFlow, beside Hugging Face.

    python benchmarks/gpu.py                                # base and large, at 128 and 512
    python benchmarks/gpu.py --size=base --max_length=512 --tokens=8192
    python benchmarks/gpu.py --device=cpu --size=tiny --tokens=256 --rounds=1   # does it run?

It needs builds for the GPU, as `pip install "jax[cuda12]" "tensorflow[and-cuda]" torch` brings
them; a library that is missing, or sees no GPU, is left out. Batches are of random pieces without
padding, held in memory, so that the step alone is measured: forward, loss, backward, clipping to a
global norm of 1, AdamW, dropout on, in bfloat16 with float32 weights. Every library runs in its own
process, and they take turns: a round is one run over all batches by each.

FLOPs utilization is what the model needs for a step (`kbl.training.pretraining_flops`, the same for
all) over what the card does in a bfloat16 matrix product of 8192 x 8192, measured in the same run
by each library; the fastest one counts.
"""

import importlib.metadata
import os
import statistics
import sys
import time

import numpy as np
from absl import app, flags
from worker import Worker, serve, start

VOCAB_SIZE = 30522  # that of bert-base-uncased
# Of each row of the table: what it computes, and variables of its process.
LIBRARIES = {
    "keras_bert_lib, JAX": ("MLM at the masked positions and NSP; fit", {"KERAS_BACKEND": "jax"}),
    "keras_bert_lib, TensorFlow": (
        "MLM at the masked positions and NSP; fit",
        {"KERAS_BACKEND": "tensorflow"},
    ),
    "transformers": ("MLM logits at all positions and NSP; SDPA; a PyTorch loop", {}),
    "transformers, compiled": ("the same through torch.compile", {}),
}

FLAGS = flags.FLAGS
flags.DEFINE_multi_enum("size", ["base", "large"], ["tiny", "mini", "base", "large"], "Of BERT.")
flags.DEFINE_multi_integer("max_length", [128, 512], "Tokens in an example.")
flags.DEFINE_integer("tokens", 16384, "Tokens in a batch.")
flags.DEFINE_integer("steps", 20, "Steps in a round.")
flags.DEFINE_integer("rounds", 5, "How often each library has its turn.")
flags.DEFINE_enum("device", "gpu", ["gpu", "cpu"], "Where to run; cpu is to try the program.")
flags.DEFINE_multi_enum("library", list(LIBRARIES), list(LIBRARIES), "What to measure.")
flags.DEFINE_string("worker", None, "Used by the program itself: the library to run.")


def main(_):
    if FLAGS.worker:
        serve(run_worker)
        return
    for size in FLAGS.size:
        for max_length in FLAGS.max_length:
            compare(size, max_length)


def compare(size, max_length):
    """Measures all libraries at one shape and prints the table."""
    import keras_bert_lib as kbl

    arguments = [f"--size={size}", f"--max_length={max_length}", f"--tokens={FLAGS.tokens}"]
    arguments += [f"--steps={FLAGS.steps}", f"--device={FLAGS.device}"]
    # All are alive at once, so none may take the whole card beforehand.
    share = {"XLA_PYTHON_CLIENT_PREALLOCATE": "false", "TF_FORCE_GPU_ALLOW_GROWTH": "true"}
    if FLAGS.device == "cpu":
        share |= {"JAX_PLATFORMS": "cpu", "CUDA_VISIBLE_DEVICES": "-1"}
    workers = start(
        Worker(name, [__file__, *arguments, f"--worker={name}"], environment=share | variables)
        for name, (_, variables) in LIBRARIES.items()
        if name in FLAGS.library
    )
    if not workers:
        sys.exit(
            "Nothing could be measured. Without a GPU, --device=cpu --size=tiny --tokens=256 tells "
            "whether the program runs."
        )
    seconds = {worker: [] for worker in workers}
    try:
        for _ in range(FLAGS.rounds):
            for worker in workers:
                seconds[worker].append(worker.ask("run"))
    finally:
        for worker in workers:
            worker.close()

    config = kbl.BertConfig.from_size(size, vocab_size=VOCAB_SIZE)
    rows = rows_of(max_length)
    flops = kbl.training.pretraining_flops(config, rows, max_length, predictions_of(max_length))
    rate = max(about["matmul_rate"] for about in workers.values())
    devices = " and ".join(dict.fromkeys(about["device"] for about in workers.values()))
    print(
        f"\n{size}, mixed_bfloat16, batches of {rows} x {max_length}; {devices}, {rate / 1e12:.3g} "
        f"TFLOP/s in a matrix product; medians of {FLAGS.rounds} rounds of {FLAGS.steps} steps\n"
    )
    print("| library | tokens/s | ms a step | FLOPs utilization | computes |")
    print("|---|---:|---:|---:|---|")
    for worker, runs in seconds.items():
        step = statistics.median(runs) / FLAGS.steps
        print(
            f"| {worker.name} ({workers[worker]['version']}) | {rows * max_length / step:,.0f} | "
            f"{1000 * step:.1f} | {flops / step / rate:.0%} | {LIBRARIES[worker.name][0]} |",
            flush=True,
        )


def rows_of(max_length):
    """Returns the examples in a batch."""
    return max(1, FLAGS.tokens // max_length)


def predictions_of(max_length):
    """Returns the masked positions in an example: 20 of 128."""
    return max(1, max_length * 20 // 128)


def run_worker():
    """Builds the model of one library; returns what is said of it, and what times one round."""
    make = train_transformers if FLAGS.worker.startswith("transformers") else train_keras_bert_lib
    about, train = make(make_batches())
    train()  # graphs are built, and memory is taken

    def timed(_):
        begin = time.perf_counter()
        train()
        return time.perf_counter() - begin

    return about, timed


def make_batches():
    """Returns random batches, numpy arrays `[steps, b, ...]`."""
    rng = np.random.default_rng(0)
    length = FLAGS.max_length[0]
    shape = FLAGS.steps, rows_of(length), length
    masked = *shape[:2], predictions_of(length)
    batches = {
        "token_ids": rng.integers(1000, VOCAB_SIZE, shape),
        "segment_ids": np.broadcast_to(np.arange(length) >= length // 2, shape),
        "padding_mask": np.ones(shape),
        # Different positions of each example, as masking draws them.
        "masked_positions": np.sort(np.argsort(rng.random(shape), axis=-1)[..., : masked[-1]]),
        "masked_ids": rng.integers(1000, VOCAB_SIZE, masked),
        "next_sentence_labels": rng.integers(0, 2, shape[:2]),
    }
    batches = {name: x.astype("int32") for name, x in batches.items()}
    return batches | {"masked_weights": np.ones(masked, "float32")}


def fastest_product(multiply):
    """Returns the floating-point operations a second of `multiply(count)`.

    It multiplies matrices of `width_of_products()` so many times, and waits for the last one.
    """
    multiply(1)
    seconds = []
    for _ in range(5):
        begin = time.perf_counter()
        multiply(20)
        seconds.append(time.perf_counter() - begin)
    return 20 * 2 * width_of_products() ** 3 / min(seconds)


def width_of_products():
    """Wide enough for a device to reach what it can."""
    return 8192 if FLAGS.device == "gpu" else 512


def train_keras_bert_lib(batches):
    import keras
    import tensorflow as tf

    if keras.backend.backend() == "jax":
        import jax

        tf.config.set_visible_devices([], "GPU")  # it only feeds the batches
        device = jax.devices()[0]
        platform, name = device.platform, device.device_kind
        version = f"JAX {jax.__version__}"
    else:
        gpus = tf.config.list_physical_devices("GPU")
        platform, name = ("gpu", None) if gpus else ("cpu", "CPU")
        if gpus:
            name = tf.config.experimental.get_device_details(gpus[0]).get("device_name", "GPU")
        version = f"TensorFlow {tf.__version__}"
    check_device(platform)

    import keras_bert_lib as kbl

    matrix = keras.ops.ones([width_of_products()] * 2, "bfloat16") / width_of_products()

    def multiply(count):
        x = matrix
        for _ in range(count):
            x = keras.ops.matmul(x, matrix)
        keras.ops.convert_to_numpy(x[:1, :1])

    about = {"device": name, "version": version, "matmul_rate": fastest_product(multiply)}
    keras.config.set_dtype_policy("mixed_bfloat16")
    config = kbl.BertConfig.from_size(FLAGS.size[0], vocab_size=VOCAB_SIZE)
    model = kbl.BertPretrainer(kbl.BertEncoder(config))
    model.compile(kbl.training.create_optimizer(1e-4, total_steps=1000))
    dataset = tf.data.Dataset.from_tensor_slices(batches).prefetch(2)
    return about, lambda: model.fit(dataset, verbose=0)


def train_transformers(batches):
    import torch
    import transformers

    import keras_bert_lib as kbl

    has_gpu = torch.cuda.is_available()
    check_device("gpu" if has_gpu else "cpu")
    device = "cuda" if has_gpu else "cpu"

    def wait():
        if has_gpu:
            torch.cuda.synchronize()

    matrix = torch.ones([width_of_products()] * 2, dtype=torch.bfloat16, device=device)
    matrix /= width_of_products()

    def multiply(count):
        x = matrix
        for _ in range(count):
            x = x @ matrix
        wait()

    about = {
        "device": torch.cuda.get_device_name() if has_gpu else "CPU",
        "version": f"{importlib.metadata.version('transformers')}, PyTorch {torch.__version__}",
        "matmul_rate": fastest_product(multiply),
    }
    ours = kbl.BertConfig.from_size(FLAGS.size[0], vocab_size=VOCAB_SIZE)
    config = transformers.BertConfig(
        vocab_size=VOCAB_SIZE,
        hidden_size=ours.hidden_size,
        num_hidden_layers=ours.num_layers,
        num_attention_heads=ours.num_heads,
        intermediate_size=ours.intermediate_size,
        attn_implementation="sdpa",
    )
    model = transformers.BertForPreTraining(config).to(device).train()
    decayed = [p for p in model.parameters() if p.ndim > 1]  # not biases and LayerNorm
    others = [p for p in model.parameters() if p.ndim == 1]
    optimizer = torch.optim.AdamW(
        [{"params": decayed}, {"params": others, "weight_decay": 0.0}],
        lr=1e-4,
        weight_decay=0.01,
        fused=has_gpu,
    )
    compute = torch.compile(model) if FLAGS.worker.endswith("compiled") else model
    labels = np.full(batches["token_ids"].shape, -100)  # ignored by the loss
    np.put_along_axis(labels, batches["masked_positions"], batches["masked_ids"], axis=-1)
    columns = {
        "input_ids": batches["token_ids"],
        "token_type_ids": batches["segment_ids"],
        "attention_mask": batches["padding_mask"],
        "labels": labels,
        "next_sentence_label": batches["next_sentence_labels"],
    }
    columns = {name: torch.tensor(array, dtype=torch.long) for name, array in columns.items()}

    def train():
        for i in range(FLAGS.steps):
            batch = {name: tensor[i].to(device) for name, tensor in columns.items()}
            with torch.autocast(device, torch.bfloat16):
                loss = compute(**batch).loss
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            optimizer.zero_grad()
        wait()

    return about, train


def check_device(platform):
    """Ends the process of a library that does not see the device that is to be measured."""
    if FLAGS.device == "gpu" and platform not in ("gpu", "cuda", "rocm"):
        sys.exit("there is no GPU that it sees")


if __name__ == "__main__":
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    app.run(main)
