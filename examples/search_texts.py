"""Fine-tunes a pretrained BERT to embed texts, and searches with it.

    python examples/search_texts.py pairs.csv my-bert my-embedder "what to look for"

The table has the columns `anchor` and `positive`: texts that belong together, as a question and its
answer. Each learns to be nearer to its own than to those of the other pairs of its batch.
"""

import sys

import keras

import keras_bert_lib as kbl

MAX_LENGTH = 128
BATCH_SIZE = 32  # larger ones have more to tell apart, and learn more
EPOCHS = 1


def main(table, pretrained, output, query):
    keras.utils.set_random_seed(1)
    tokenizer = kbl.BertTokenizer.from_pretrained(pretrained, max_length=MAX_LENGTH)
    encoder = kbl.BertEncoder.from_pretrained(pretrained, use_pooler=False)

    # A tenth of the pairs is kept to measure on.
    train, held_out = kbl.data.split(kbl.data.read_text_pairs(table), 0.1, seed=1)
    batches = kbl.data.text_pairs(train, tokenizer, BATCH_SIZE, max_length=MAX_LENGTH)

    embedder = kbl.BertTextEmbedder(encoder, tokenizer=tokenizer)
    optimizer = kbl.training.create_optimizer(2e-5, total_steps=EPOCHS * len(batches))
    embedder.compile(optimizer, loss="in_batch_negatives")
    embedder.fit(batches, epochs=EPOCHS)
    print(kbl.evaluation.evaluate(embedder, held_out))
    embedder.save_pretrained(output)

    # The index is a matrix with a row a text. For millions of texts, give it to a vector database.
    texts = sorted(set(held_out.text_pairs))
    index = embedder.encode(texts)  # [n, hidden]
    [scores] = embedder.similarity(embedder.encode([query]), index)
    for i in scores.argsort()[::-1][:3]:
        print(f"{scores[i]:.3f}  {texts[i]}")


if __name__ == "__main__":
    if len(sys.argv) != 5:
        sys.exit(__doc__)
    main(*sys.argv[1:])
