"""Fine-tunes a pretrained BERT on your labelled texts.

    python examples/classify_texts.py train.csv my-bert my-classifier

The table has the columns `text` and `label`. The pretrained model is a directory that
examples/pretrain.py wrote, or any BERT in the Hugging Face layout.
"""

import sys

import keras

import keras_bert_lib as kbl

MAX_LENGTH = 128
BATCH_SIZE = 32
EPOCHS = 3


def main(table, pretrained, output):
    keras.utils.set_random_seed(1)
    tokenizer = kbl.BertTokenizer.from_pretrained(pretrained, max_length=MAX_LENGTH)
    encoder = kbl.BertEncoder.from_pretrained(pretrained)

    # A tenth of the texts is kept to measure on. For labels of other kinds, say
    # problem_type="multi_label_classification" ("a|b" in a cell) or "regression" (a number).
    rows = kbl.data.read_labelled_texts(table)
    train, held_out = kbl.data.split(rows, 0.1, seed=1)
    options = {"batch_size": BATCH_SIZE, "max_length": MAX_LENGTH}
    batches = kbl.data.text_classification(train, tokenizer, **options)
    to_measure = kbl.data.text_classification(held_out, tokenizer, shuffle=False, **options)

    classifier = kbl.BertClassifier(encoder, tokenizer=tokenizer, labels=rows.labels)
    classifier.compile(kbl.training.create_optimizer(1e-4, total_steps=EPOCHS * len(batches)))
    classifier.fit(batches, validation_data=to_measure, epochs=EPOCHS)

    print(kbl.evaluation.evaluate(classifier, held_out))
    for answer, text in zip(classifier.predict_text(held_out.texts[:3]), held_out.texts):
        print(f"{answer['label']} ({answer['score']:.2f}): {text[:60]}")
    classifier.save_pretrained(output)
    print(f"Wrote {output}. Next: python examples/export_and_run.py {output} 'some text'")


if __name__ == "__main__":
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    main(*sys.argv[1:])
