"""Fine-tunes a pretrained BERT on your labelled texts.

    python examples/finetune.py train.csv my-bert my-classifier

The table has the columns `text` and `label`. The pretrained model is a directory that
examples/pretrain.py wrote, or any BERT in the Hugging Face layout.
"""

import random
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

    # A tenth of the texts is kept to measure on.
    data = kbl.data.read_labelled_texts(table)
    rows = [(text, data.labels[i]) for text, i in zip(data.texts, data.label_ids)]
    random.Random(1).shuffle(rows)
    count = max(len(rows) // 10, 1)
    options = {"labels": data.labels, "batch_size": BATCH_SIZE, "max_length": MAX_LENGTH}
    held_out = kbl.data.text_classification(rows[:count], tokenizer, **options)
    train = kbl.data.text_classification(rows[count:], tokenizer, shuffle=True, **options)

    classifier = kbl.BertClassifier(encoder, tokenizer=tokenizer, labels=data.labels)
    classifier.compile(kbl.training.create_optimizer(1e-4, total_steps=EPOCHS * len(train)))
    classifier.fit(train, validation_data=held_out, epochs=EPOCHS)

    for answer, text in zip(classifier.predict_text(data.texts[:3]), data.texts):
        print(f"{answer['label']} ({answer['score']:.2f}): {text[:60]}")
    classifier.save_pretrained(output)
    print(f"Wrote {output}. Next: python examples/export_and_run.py {output} 'some text'")


if __name__ == "__main__":
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    main(*sys.argv[1:])
