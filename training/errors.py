"""Errors that every script reports in one sentence."""


class UserError(Exception):
    """Something the user gave cannot be used; the message is a sentence that says what to do."""


class Interrupted(KeyboardInterrupt):
    """A run was interrupted after it had begun, and can be resumed."""
