"""What all scripts tell their user in one sentence."""


class UserError(Exception):
    """What the user gave cannot be used; the message is a sentence that says what to do."""


class Interrupted(KeyboardInterrupt):
    """A run was interrupted after it had begun, and can be gone on with."""
