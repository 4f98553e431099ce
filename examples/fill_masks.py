"""Lets a pretrained BERT fill in what is masked.

python examples/fill_masks.py my-bert "the film was [MASK]"
"""

import sys

import keras_bert_lib as kbl


def main(pretrained, *texts):
    model = kbl.BertMaskedLM.from_pretrained(pretrained)
    for text, masks in zip(texts, model.predict_text(list(texts))):
        print(text)
        for fills in masks:
            print("  " + ", ".join(f"{fill['token']} ({fill['score']:.2f})" for fill in fills))


if __name__ == "__main__":
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    main(*sys.argv[1:])
