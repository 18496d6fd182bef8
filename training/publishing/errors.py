"""Why something is not published."""

from training.errors import UserError


class PublishError(UserError):
    """Why nothing was published and what to do, in one sentence."""
