"""A training step of each task beside the same in PyTorch, by `transformers`."""

import numpy as np
import pytest

import keras_bert_lib as kbl

pytestmark = pytest.mark.parity
torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

STEPS = 6
BATCH, LENGTH = 4, 12
CLASSES = 3


def make_batches(task):
    """Returns batches of random inputs, of several lengths, and labels; NumPy arrays."""
    rng = np.random.default_rng(0)
    for _ in range(STEPS):
        # Scores of questions are of padding too, whose embedding `transformers` does not train.
        lengths = rng.integers(LENGTH if task == "questions" else 5, LENGTH + 1, BATCH)
        padding_mask = (np.arange(lengths.max()) < lengths[:, np.newaxis]).astype("int32")
        token_ids = rng.integers(5, 50, padding_mask.shape).astype("int32") * padding_mask
        segment_ids = (np.arange(lengths.max()) > 3).astype("int32") * padding_mask
        x = {"token_ids": token_ids, "segment_ids": segment_ids, "padding_mask": padding_mask}
        if task == "tokens":
            labels = rng.integers(0, CLASSES, padding_mask.shape)
            y = np.where((padding_mask == 1) & (rng.random(labels.shape) < 0.7), labels, -100)
        elif task == "questions":
            y = {name: rng.integers(0, 5, BATCH) for name in ("start_logits", "end_logits")}
        elif task == "regression":
            y = rng.uniform(0, 5, BATCH).astype("float32")
        elif task == "multi_label":
            y = rng.integers(0, 2, [BATCH, CLASSES]).astype("float32")
        else:
            y = rng.integers(0, CLASSES, BATCH)
        yield x, y


def make_models(task, directory):
    """Returns a model of `transformers`, and ours with its weights. None of them drops out."""
    their_class, our_class, options = {
        "single_label": ("SequenceClassification", kbl.BertClassifier, {"num_labels": CLASSES}),
        "multi_label": (
            "SequenceClassification",
            kbl.BertClassifier,
            {"num_labels": CLASSES, "problem_type": "multi_label_classification"},
        ),
        "regression": ("SequenceClassification", kbl.BertClassifier, {"num_labels": 1}),
        "tokens": ("TokenClassification", kbl.BertTokenClassifier, {"num_labels": CLASSES}),
        "questions": ("QuestionAnswering", kbl.BertQuestionAnswerer, {}),
    }[task]
    config = transformers.BertConfig(
        vocab_size=50,
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
        initializer_range=0.3,  # gradients that are long enough to be clipped
        **options,
    )
    torch.manual_seed(0)
    model = getattr(transformers, f"BertFor{their_class}")(config).train()
    model.save_pretrained(directory)
    return model, our_class.from_pretrained(directory, tokenizer=None)


@pytest.mark.parametrize(
    "task", ["single_label", "multi_label", "regression", "tokens", "questions"]
)
def test_training_follows_transformers(task, tmp_path):
    theirs, ours = make_models(task, tmp_path)
    ours.compile(kbl.training.create_optimizer(1e-3, STEPS, warmup_ratio=0.4), metrics=None)
    decayed = [p for p in theirs.parameters() if p.ndim > 1]  # not biases and LayerNorm
    others = [p for p in theirs.parameters() if p.ndim == 1]
    optimizer = torch.optim.AdamW(
        [{"params": decayed}, {"params": others, "weight_decay": 0.0}],
        lr=1e-3,
        weight_decay=0.01,
        eps=1e-6,
    )
    schedule = transformers.get_linear_schedule_with_warmup(optimizer, round(0.4 * STEPS), STEPS)

    norms = []
    for x, y in make_batches(task):
        labels = {"labels": y}
        if task == "questions":
            labels = {"start_positions": y["start_logits"], "end_positions": y["end_logits"]}
        loss = theirs(
            input_ids=torch.tensor(x["token_ids"]).long(),
            token_type_ids=torch.tensor(x["segment_ids"]).long(),
            attention_mask=torch.tensor(x["padding_mask"]).long(),
            **{name: torch.tensor(array) for name, array in labels.items()},
        ).loss
        loss.backward()
        norms.append(torch.nn.utils.clip_grad_norm_(theirs.parameters(), 1.0).item())
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()

        our_loss = ours.train_on_batch(x, y, return_dict=True)["loss"]
        ours.reset_metrics()
        np.testing.assert_allclose(our_loss, loss.item(), rtol=1e-5)
    assert max(norms) > 1  # some were clipped

    ours.save_pretrained(tmp_path / "trained")
    trained = type(theirs).from_pretrained(tmp_path / "trained").state_dict()
    for name, tensor in theirs.state_dict().items():
        # A weight whose gradient is nothing but rounding is moved by it all the same.
        np.testing.assert_allclose(trained[name], tensor, atol=2e-4, err_msg=name)
