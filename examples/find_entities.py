"""Fine-tunes a pretrained BERT to find names and the like in texts.

    python examples/find_entities.py train.conll my-bert my-tagger

The file has CoNLL's columns: a word in the first and its tag in the last of a line (B-person,
I-person, O), and a blank line between sentences.
"""

import sys

import keras

import keras_bert_lib as kbl

MAX_LENGTH = 128
BATCH_SIZE = 32
EPOCHS = 3


def main(path, pretrained, output):
    keras.utils.set_random_seed(1)
    tokenizer = kbl.BertTokenizer.from_pretrained(pretrained, max_length=MAX_LENGTH)
    encoder = kbl.BertEncoder.from_pretrained(pretrained, use_pooler=False)

    # A tenth of the sentences is kept to measure on.
    rows = kbl.data.read_labelled_tokens(path)
    train, held_out = kbl.data.split(rows, 0.1, seed=1)
    batches = kbl.data.token_classification(train, tokenizer, BATCH_SIZE, max_length=MAX_LENGTH)

    tagger = kbl.BertTokenClassifier(encoder, tokenizer=tokenizer, labels=rows.labels)
    tagger.compile(kbl.training.create_optimizer(2e-4, total_steps=EPOCHS * len(batches)))
    tagger.fit(batches, epochs=EPOCHS)

    print(kbl.evaluation.evaluate(tagger, held_out))
    text = " ".join(held_out.words[0])
    for entity in tagger.predict_text([text])[0]:
        print(f"{entity['label']} ({entity['score']:.2f}): {entity['text']}")
    tagger.save_pretrained(output)
    print(f"Wrote {output}. Next: keras-bert predict {output} 'some text'")


if __name__ == "__main__":
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    main(*sys.argv[1:])
