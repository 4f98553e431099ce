"""Fine-tunes a pretrained BERT to choose which of several texts goes on with another.

    python examples/choose_endings.py train.jsonl my-bert my-chooser

A line of the file is {"text": "She sat", "choices": ["down.", "the sky."], "label": 0}.
"""

import sys

import keras

import keras_bert_lib as kbl

MAX_LENGTH = 128
BATCH_SIZE = 16
EPOCHS = 3


def main(path, pretrained, output):
    keras.utils.set_random_seed(1)
    tokenizer = kbl.BertTokenizer.from_pretrained(pretrained, max_length=MAX_LENGTH)
    encoder = kbl.BertEncoder.from_pretrained(pretrained)

    # A tenth of the texts is kept to measure on.
    train, held_out = kbl.data.split(kbl.data.read_labelled_choices(path), 0.1, seed=1)
    batches = kbl.data.multiple_choice(train, tokenizer, BATCH_SIZE, max_length=MAX_LENGTH)

    chooser = kbl.BertMultipleChoice(encoder, tokenizer=tokenizer)
    chooser.compile(kbl.training.create_optimizer(5e-5, total_steps=EPOCHS * len(batches)))
    chooser.fit(batches, epochs=EPOCHS)

    print(kbl.evaluation.evaluate(chooser, held_out))
    [answer] = chooser.predict_text(held_out.texts[:1], held_out.choices[:1])
    print(f"{held_out.texts[0]} -> {answer['choice']} ({answer['score']:.2f})")
    chooser.save_pretrained(output)
    print(f"Wrote {output}. Next: keras-bert predict {output} --file texts-and-choices.tsv")


if __name__ == "__main__":
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    main(*sys.argv[1:])
