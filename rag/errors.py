"""Every error that Exhibit raises on purpose; each message says what is wrong and what to do.

::

    ExhibitError
    ├── SettingsError          a setting is unknown or has a value that cannot work
    ├── ModelError             a model is missing, damaged or cannot be used
    ├── MediaError             a file (or a place in it) cannot be read as what it should be
    │   ├── UnsupportedMedia   no reader for this kind of file
    │   ├── DamagedMedia       truncated, mislabelled or malformed
    │   ├── ProtectedMedia     needs a password, or may not be read
    │   └── MediaTooLarge      over a limit on bytes, pixels, pages or seconds
    ├── IndexUnavailable       the vector store or the catalog cannot be reached or is damaged
    │   └── KnowledgeBaseBusy  another process holds this knowledge base
    ├── EncoderMismatch        the collection was built with another encoder
    ├── QueryError             the question or a filter is malformed
    └── LLMError               the language model failed
        ├── LLMUnavailable     it could not be reached or refused the request; may pass
        └── ContextOverflow    the prompt is longer than its context
"""


class ExhibitWarning(UserWarning):
    """Something went wrong that a result cannot tell of, and the result is the worse for it."""


class ExhibitError(Exception):
    """Base of all errors that Exhibit raises on purpose."""


class SettingsError(ExhibitError):
    """A setting is unknown or has a value that cannot work."""


class ModelError(ExhibitError):
    """A model is missing, damaged or cannot be used."""


class MediaError(ExhibitError):
    """A file, or a place in it, cannot be read as what it should be."""


class UnsupportedMedia(MediaError):
    """No reader exists for this kind of file."""


class DamagedMedia(MediaError):
    """The file is truncated, mislabelled or malformed."""


class ProtectedMedia(MediaError):
    """The file needs a password, or its permissions forbid reading it."""


class MediaTooLarge(MediaError):
    """The file is over a limit on bytes, pixels, pages or seconds."""


class IndexUnavailable(ExhibitError):
    """The vector store or the catalog cannot be reached or is damaged."""


class KnowledgeBaseBusy(IndexUnavailable):
    """Another process holds this knowledge base."""


class EncoderMismatch(ExhibitError):
    """The collection was built with another encoder than the one that opens it."""


class QueryError(ExhibitError):
    """The question or a filter is malformed."""


class LLMError(ExhibitError):
    """The language model failed."""


class LLMUnavailable(LLMError):
    """The language model could not be reached or refused the request; it may pass."""


class ContextOverflow(LLMError):
    """The prompt is longer than the model's context."""
