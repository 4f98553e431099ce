"""Loading a model directory: time and memory, beside Hugging Face `transformers` and KerasHub.

    python benchmarks/load.py
    python benchmarks/load.py --size=large --rounds=1

A directory in the Hugging Face layout with random weights in BERT-base's shape is made on the spot,
and removed afterwards. Each load is the only one of a fresh process that has imported its library
and loaded a tiny model before. Libraries may put off reading the weights until they are used, so
the time to the first output, of 8 tokens, is given too; it also shows that all have loaded the same
model. Memory is what the process holds in RAM beyond what it held then, the pages of a mapped file
included: the most at any time up to the first output (peak), and after it. Linux only.
"""

import importlib
import os
import re
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
from absl import app, flags
from worker import Worker, serve

LIBRARIES = ["keras_bert_lib", "transformers", "keras_hub"]
TOKEN_IDS = np.arange(1, 9).reshape(1, 8)  # [b, s]

FLAGS = flags.FLAGS
flags.DEFINE_string("size", "base", "Size of the model: tiny, mini, small, medium, base or large.")
flags.DEFINE_list("libraries", LIBRARIES, "What to measure; the ratios are to the first.")
flags.DEFINE_integer("rounds", 3, "How often each library has its turn.")
flags.DEFINE_string("worker", None, "Used by the program itself: the library to run.")
flags.DEFINE_string("folder", None, "Used by the program itself: where the models are.")


def main(_):
    if FLAGS.worker:
        serve(run_worker)
        return
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    with tempfile.TemporaryDirectory() as folder:
        write_models(folder)
        compare(folder)


def write_models(folder):
    """Writes the model to measure, and a tiny one that each process loads before."""
    import keras_bert_lib as kbl

    for name, size, vocab_size in [("model", FLAGS.size, 30522), ("tiny", "tiny", 100)]:
        config = kbl.BertConfig.from_size(size, vocab_size=vocab_size)
        kbl.BertEncoder(config).save_pretrained(os.path.join(folder, name))


def compare(folder):
    """Measures all libraries, one after the other in each round, and prints the table."""
    file_size = os.path.getsize(os.path.join(folder, "model", "model.safetensors"))
    runs, versions = {}, {}
    for _ in range(FLAGS.rounds):
        for library in list(FLAGS.libraries):
            worker = Worker(library, [__file__, f"--folder={folder}", f"--worker={library}"])
            try:
                versions[library] = worker.ask("start")
                runs.setdefault(library, []).append(worker.ask("load"))
            except RuntimeError as error:
                print(f"{library} left out: {error}", flush=True)
                FLAGS.libraries.remove(library)
            finally:
                worker.close()

    print(
        f"\nBERT-{FLAGS.size}, {file_size / 1e6:.0f} MB of float32; medians of {FLAGS.rounds} "
        "rounds, time as a multiple of the first row's in brackets\n"
    )
    print(
        "| library | load, s | to the first output, s | peak / file | after / file | differs by |"
    )
    print("|---|---:|---:|---:|---:|---:|")
    first = next(iter(runs.values()))
    for library, loads in runs.items():
        cells = [f"{library} {versions[library]}"]
        for key in ("load", "first_output"):
            # Within a round the machine is most alike.
            ratio = statistics.median(run[key] / ours[key] for ours, run in zip(first, loads))
            cells.append(f"{statistics.median(run[key] for run in loads):.2f} ({ratio:.2f})")
        for key in ("peak", "after"):
            cells.append(f"{statistics.median(run[key] for run in loads) / file_size:.2f}")
        difference = np.abs(np.subtract(loads[0]["output"], first[0]["output"])).max()
        cells.append(f"{difference:.0e}")
        print(f"| {' | '.join(cells)} |", flush=True)


def run_worker():
    """Imports one library; returns its version and what loads the model and measures it."""
    load = {
        "keras_bert_lib": load_keras_bert_lib,
        "transformers": load_transformers,
        "keras_hub": load_keras_hub,
    }[FLAGS.worker]
    load(Path(FLAGS.folder, "tiny"))()

    def measured(_):
        Path("/proc/self/clear_refs").write_text("5")  # forgets the peak of importing
        before = memory("VmRSS")
        begin = time.perf_counter()
        answer = load(Path(FLAGS.folder, "model"))
        loaded = time.perf_counter()
        output = answer()
        answered = time.perf_counter()
        return {
            "load": loaded - begin,
            "first_output": answered - begin,
            "peak": memory("VmHWM") - before,
            "after": memory("VmRSS") - before,
            "output": output[0, :, :4].tolist(),
        }

    return importlib.import_module(FLAGS.worker).__version__, measured


def memory(field):
    """Returns the bytes of RAM that this process holds (VmRSS), or has held at most (VmHWM)."""
    # `resource.getrusage` has the peak too, but it begins with that of the parent process.
    status = Path("/proc/self/status").read_text()
    return 1024 * int(re.search(rf"{field}:\s+(\d+) kB", status)[1])


def load_keras_bert_lib(path):
    import keras_bert_lib as kbl

    encoder = kbl.BertEncoder.from_pretrained(path)
    return lambda: np.asarray(encoder({"token_ids": TOKEN_IDS})["sequence_output"])


def load_transformers(path):
    import torch
    import transformers

    model = transformers.BertModel.from_pretrained(path).eval()

    @torch.inference_mode()
    def answer():
        return model(torch.tensor(TOKEN_IDS)).last_hidden_state.numpy()

    return answer


def load_keras_hub(path):
    import keras_hub

    backbone = keras_hub.models.BertBackbone.from_preset(str(path))
    inputs = {
        "token_ids": TOKEN_IDS,
        "segment_ids": np.zeros_like(TOKEN_IDS),
        "padding_mask": np.ones_like(TOKEN_IDS),
    }
    return lambda: np.asarray(backbone(inputs)["sequence_output"])


if __name__ == "__main__":
    app.run(main)
