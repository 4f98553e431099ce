"""What is raised where a file is not as good as its model."""


class VerificationError(RuntimeError):
    """An exported file, which is there to be looked at, fails a bound; see `Verification.check`."""
