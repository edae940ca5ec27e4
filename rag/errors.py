"""All errors that Exhibit raises on purpose; each message names the problem and the remedy.

::

    ExhibitError
    ├── SettingsError          a setting is unknown or invalid
    ├── ModelError             a model is missing, damaged or unusable
    ├── MediaError             a file, or a place in it, cannot be read
    │   ├── UnsupportedMedia   no reader for this kind of file
    │   ├── DamagedMedia       truncated, mislabelled or malformed
    │   ├── ProtectedMedia     needs a password, or its permissions forbid reading
    │   └── MediaTooLarge      over a limit on bytes, pixels, pages or seconds
    ├── IndexUnavailable       the vector store or the catalog is unreachable or damaged
    │   └── KnowledgeBaseBusy  another process has the knowledge base open
    ├── EncoderMismatch        the knowledge base was built with another encoder
    ├── QueryError             the question, an option or a filter is invalid
    └── LLMError               the language model failed
        ├── LLMUnavailable     it is unreachable or refused the request; a retry may succeed
        └── ContextOverflow    the prompt is longer than its context
"""


class ExhibitWarning(UserWarning):
    """A step failed; the result is degraded."""


class ExhibitError(Exception):
    """Base class of all errors that Exhibit raises on purpose."""


class SettingsError(ExhibitError):
    """A setting is unknown or invalid."""


class ModelError(ExhibitError):
    """A model is missing, damaged or unusable."""


class MediaError(ExhibitError):
    """A file, or a place in it, cannot be read."""


class UnsupportedMedia(MediaError):
    """No reader exists for this kind of file."""


class DamagedMedia(MediaError):
    """The file is truncated, mislabelled or malformed."""


class ProtectedMedia(MediaError):
    """The file needs a password, or its permissions forbid reading it."""


class MediaTooLarge(MediaError):
    """The file is over a limit on bytes, pixels, pages or seconds."""


class IndexUnavailable(ExhibitError):
    """The vector store or the catalog is unreachable or damaged."""


class KnowledgeBaseBusy(IndexUnavailable):
    """Another process has this knowledge base open."""


class EncoderMismatch(ExhibitError):
    """The knowledge base was built with a different encoder from the one that opens it."""


class QueryError(ExhibitError):
    """The question, an option or a filter is invalid."""


class LLMError(ExhibitError):
    """The language model failed."""


class LLMUnavailable(LLMError):
    """The language model is unreachable or refused the request; a retry may succeed."""


class ContextOverflow(LLMError):
    """The prompt is longer than the model's context."""
