"""Fine-tunes a pretrained BERT to find the answers to questions in texts.

    python examples/answer_questions.py train.json dev.json my-bert my-answerer

The files are those of SQuAD, 1.1 or 2.0.
"""

import sys

import keras

import keras_bert_lib as kbl

# Longer texts are read in windows that share `STRIDE` tokens.
MAX_LENGTH = 384
STRIDE = 128
BATCH_SIZE = 16
EPOCHS = 2


def main(train_path, dev_path, pretrained, output):
    keras.utils.set_random_seed(1)
    tokenizer = kbl.BertTokenizer.from_pretrained(pretrained, max_length=MAX_LENGTH)
    encoder = kbl.BertEncoder.from_pretrained(pretrained, use_pooler=False)

    train, held_out = kbl.data.read_questions(train_path), kbl.data.read_questions(dev_path)
    batches = kbl.data.question_answering(
        train, tokenizer, BATCH_SIZE, max_length=MAX_LENGTH, stride=STRIDE
    )

    answerer = kbl.BertQuestionAnswerer(
        encoder,
        tokenizer=tokenizer,
        stride=STRIDE,
        may_have_no_answer=not all(train.answers),  # as in SQuAD 2.0
    )
    answerer.compile(kbl.training.create_optimizer(1e-4, total_steps=EPOCHS * len(batches)))
    answerer.fit(batches, epochs=EPOCHS)

    print(kbl.evaluation.evaluate(answerer, held_out))
    [answer] = answerer.predict_text(held_out.questions[:1], held_out.contexts[:1])
    print(f"{held_out.questions[0]} {answer['answer']} ({answer['score']:.2f})")
    answerer.save_pretrained(output)
    print(f"Wrote {output}. Next: keras-bert predict {output} --file questions-and-contexts.tsv")


if __name__ == "__main__":
    if len(sys.argv) != 5:
        sys.exit(__doc__)
    main(*sys.argv[1:])
