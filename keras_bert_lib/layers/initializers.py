"""The initializer every weight matrix of BERT starts from."""

import keras


def normal(stddev):
    """Returns a new truncated normal initializer.

    A new one for every weight: an initializer used twice gives the same numbers twice.
    """
    return keras.initializers.TruncatedNormal(stddev=stddev)
