"""Pretrains a small BERT on your text files, from nothing.

    python examples/pretrain.py my-bert corpus/*.txt

Text files: a sentence or a paragraph a line, a blank line between documents.
"""

import sys

import keras_bert_lib as kbl

MAX_LENGTH = 128
BATCH_SIZE = 32
EPOCHS = 10


def main(output, *corpus):
    # 1. The vocabulary, and the tokenizer that uses it.
    vocabulary = kbl.text.learn_vocabulary(list(corpus), vocab_size=8000)
    tokenizer = kbl.BertTokenizer(vocabulary, max_length=MAX_LENGTH)

    # 2. The data: pairs of segments with masked pieces, masked anew in every epoch.
    examples = kbl.data.count_pretraining_examples(corpus, tokenizer, max_length=MAX_LENGTH)
    steps = max(examples // BATCH_SIZE, 1)
    dataset = kbl.data.pretraining_dataset(
        corpus, tokenizer, BATCH_SIZE, max_length=MAX_LENGTH, repeat=True
    )

    # 3. The model. It brings its own losses and metrics: compile(optimizer) is enough.
    config = kbl.BertConfig.from_size("mini", vocab_size=tokenizer.vocabulary_size)
    pretrainer = kbl.BertPretrainer(kbl.BertEncoder(config))
    pretrainer.compile(kbl.training.create_optimizer(5e-4, total_steps=EPOCHS * steps))

    # 4. The training. Interrupted, the same command goes on from the state it saved.
    resume = kbl.training.Resume(f"{output}.state.npz", save_every=500)
    pretrainer.fit(dataset, steps_per_epoch=steps, epochs=EPOCHS, callbacks=[resume])

    pretrainer.save_pretrained(output)
    tokenizer.save_pretrained(output)
    print(
        f"Wrote {output}. Next: python examples/classify_texts.py train.csv {output} my-classifier"
    )


if __name__ == "__main__":
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    main(*sys.argv[1:])
