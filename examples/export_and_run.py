"""Exports a fine-tuned classifier, and asks the files with nothing but a stock runtime.

python examples/export_and_run.py my-classifier "a first text" "a second one"
"""

import sys

import numpy as np
import tensorflow as tf

import keras_bert_lib as kbl


def main(directory, *texts):
    classifier = kbl.BertClassifier.from_pretrained(directory)

    # For servers: strings in, answers out, in a batch of any size.
    kbl.export.saved_model(classifier, f"{directory}-serving/1", overwrite=True)
    serve = tf.saved_model.load(f"{directory}-serving/1").signatures["serving_default"]
    answers = serve(text=tf.constant(list(texts)))
    for text, label, row in zip(texts, answers["label"].numpy(), answers["probabilities"].numpy()):
        print(f"SavedModel: {label.decode()} ({row.max():.2f}): {text}")

    # For phones: the text's UTF-8 bytes in, zero-padded. Kotlin, Swift and JavaScript do the same.
    path = f"{directory}.tflite"
    kbl.export.tflite(classifier, path, quantization="dynamic_int8", overwrite=True)
    interpreter = make_interpreter(path)
    run = interpreter.get_signature_runner("serving_default")
    max_bytes = run.get_input_details()["text"]["shape"][1]
    for text in texts:
        data = np.frombuffer(text.encode("utf-8")[:max_bytes], np.uint8)
        padded = np.zeros([1, max_bytes], np.int32)
        padded[0, : len(data)] = data
        probabilities = run(text=padded)["probabilities"][0]
        label = classifier.labels[probabilities.argmax()]
        print(f"TFLite:     {label} ({probabilities.max():.2f}): {text}")

    print(kbl.export.verify(path, classifier, list(texts)))


def make_interpreter(path):
    try:
        from ai_edge_litert.interpreter import Interpreter
    except ImportError:  # pip install ai-edge-litert, or the one that comes with TensorFlow
        return tf.lite.Interpreter(model_path=path)
    return Interpreter(model_path=path)


if __name__ == "__main__":
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    main(*sys.argv[1:])
