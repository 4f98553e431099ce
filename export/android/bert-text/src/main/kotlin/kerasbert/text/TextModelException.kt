package kerasbert.text

/** What is wrong with a model file or with what it was asked, and how to mend it. */
class TextModelException(message: String, cause: Throwable? = null) : Exception(message, cause)
