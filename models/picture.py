"""A picture as its file stores it: values for measuring, and a photo for viewing.

In a camera's photo they are the same. Pictures from microscopes and other instruments have 12 or 16
bits, floats, several channels, and come in stacks: they are measured in their own values, of which
the photo shows a range.
"""

from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from models.errors import ExplainedError
from models.turning import Turn, turn_array

Photo = NDArray[np.uint8]
"""A `(height, width, 3)` uint8 RGB array, upright."""

Values = NDArray[Any]
"""`(height, width)` or `(height, width, channels)`: a picture's values as its file has them."""

AxisName = Literal["page", "time", "z", "channel"]
AXES: tuple[AxisName, ...] = get_args(AxisName)

RGB = ("red", "green", "blue")

Stretch = Literal["stated", "percentiles"]


class PhotoError(ExplainedError):
    """A picture that cannot be used; the text is one sentence for the person who sent it."""


@dataclass(frozen=True)
class Place:
    """Which of a file's pictures to read, each index from 0; None for the first with content.

    Examples
    --------
    >>> Place(z=3).channel is None
    True
    """

    page: int | None = None
    time: int | None = None
    z: int | None = None
    channel: int | None = None


FIRST = Place()


@dataclass(frozen=True)
class Axis:
    """One of the dimensions along which a file has several pictures.

    Attributes
    ----------
    name
        "page" also counts the frames of an animation.
    count
        The number of pictures along it, 2 or more.
    index
        The index of this one, from 0.
    """

    name: AxisName
    count: int
    index: int


@dataclass(frozen=True)
class Picture:
    """An upright picture: its values, the photo that shows them, and what its file says about them.

    Attributes
    ----------
    photo
        `(height, width, 3)` uint8 RGB, for people and networks. A preview may be smaller.
    values
        The values for measuring, at the size of the photo or larger: `(height, width)` of any
        integer or float type if the picture is grey; `(height, width, channels)` if it has several
        channels; `photo` itself if the file contains just that.
    size
        Height and width of the full picture.
    shown
        The values that the photo shows as black and as white; None if `values` is `photo`.
    stretch
        Where that range comes from: "stated" by the file, or "percentiles" of the values; None if
        the values are shown unchanged.
    channels
        Names along the last axis of `values`: "red", "green" and "blue" of a colour picture, or an
        instrument's channels, whose names may be empty. Empty if there is no such axis.
    axes
        The dimensions along which the file has several pictures, in the order of `AXES`. If
        "channel" is among them, the photo shows one channel, and `values` has them all.
    pixel_size
        Height and width of a pixel in micrometres; None if the file does not say.
    """

    photo: Photo
    values: Values
    size: tuple[int, int]
    shown: tuple[float, float] | None = None
    stretch: Stretch | None = None
    channels: tuple[str, ...] = RGB
    axes: tuple[Axis, ...] = ()
    pixel_size: tuple[float, float] | None = None

    @property
    def deep(self) -> bool:
        """Whether the values differ from the photo's."""
        return self.values is not self.photo

    @property
    def colored(self) -> bool:
        """Whether the values are those of red, green and blue."""
        return self.channels == RGB

    def turned(self, turn: Turn) -> "Picture":
        """The same after a turn, with values and photo of its own."""
        if not turn:
            return self
        photo = turn_array(self.photo, turn)
        values = turn_array(self.values, turn) if self.deep else photo
        across = turn in (90, 270)
        size = self.size[::-1] if across else self.size
        pixel_size = self.pixel_size[::-1] if self.pixel_size and across else self.pixel_size
        return replace(self, photo=photo, values=values, size=size, pixel_size=pixel_size)

    def axis(self, name: AxisName) -> Axis | None:
        """The axis of this name, or None."""
        return next((axis for axis in self.axes if axis.name == name), None)

    @property
    def gray(self) -> Values | None:
        """The `(height, width)` values of the grey picture or of the shown channel.

        None for a colour picture, which can be turned grey in several ways.
        """
        if self.colored:
            return None
        if self.values.ndim == 2:
            return self.values
        channel = self.axis("channel")
        return self.values[:, :, channel.index if channel else 0]

    @property
    def counted(self) -> Values:
        """The values for thresholds: all finite, `(height, width)` or `(height, width, 3)` RGB.

        NaN counts as the smallest value, which is how it is shown.
        """
        values = self.values if self.gray is None else self.gray
        if values.dtype.kind != "f":
            return values
        finite = np.isfinite(values)
        if finite.all():
            return values
        low, high = (values[finite].min(), values[finite].max()) if finite.any() else (0, 0)
        return np.nan_to_num(values, nan=low, posinf=high, neginf=low)
