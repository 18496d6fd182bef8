"""A picture as it is in its file: numbers that are counted, and a photo that is looked at.

Cameras' photos are both at once. The pictures of microscopes and other instruments have 12 or 16
bits, floats, several channels, and lie in stacks: what is counted is counted in their own numbers,
and the photo shows a range of them.
"""

from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from models.errors import ExplainedError

Photo = NDArray[np.uint8]
"""A `(height, width, 3)` uint8 RGB array, upright."""

Values = NDArray[Any]
"""`(height, width)` or `(height, width, channels)`: a picture's numbers as its file has them."""

AxisName = Literal["page", "time", "z", "channel"]
AXES: tuple[AxisName, ...] = get_args(AxisName)

RGB = ("red", "green", "blue")

Stretch = Literal["stated", "percentiles"]


class PhotoError(ExplainedError):
    """A picture that cannot be used; the text is one sentence for the person who sent it."""


@dataclass(frozen=True)
class Place:
    """Which of a file's pictures is wanted, each counted from 0; None for the first with content.

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
    """One of the ways in which a file has several pictures.

    Attributes
    ----------
    name
        "page" also counts the frames of an animation.
    count
        How many there are, 2 or more.
    index
        Which one this is, from 0.
    """

    name: AxisName
    count: int
    index: int


@dataclass(frozen=True)
class Picture:
    """A picture, upright: what is counted, what is looked at, and what its file says of it.

    Attributes
    ----------
    photo
        `(height, width, 3)` uint8 RGB: for people and networks. A preview's may be smaller.
    values
        What is counted, at the size of the photo or more: `(height, width)` of any integer or
        float type where the picture is grey; `(height, width, channels)` where it has several;
        `photo` itself where that is what the file holds.
    size
        Height and width of the whole picture.
    shown
        The values that the photo shows as black and as white; None where `values` is `photo`.
    stretch
        Where that range comes from: "stated" by the file, or "percentiles" of the values; None
        where the values are shown as they are.
    channels
        What the last axis of `values` holds: "red", "green" and "blue" of a colour picture, or the
        names of an instrument's channels, which may be empty. Nothing where there is no such axis.
    axes
        In which ways the file has several pictures, in the order of `AXES`. Where "channel" is
        among them, the photo shows that one, and `values` has them all.
    pixel_size
        Height and width of a pixel in micrometres; None where the file does not say.
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
        """Whether the values are others than the photo's."""
        return self.values is not self.photo

    @property
    def colored(self) -> bool:
        """Whether the values are those of red, green and blue."""
        return self.channels == RGB

    def axis(self, name: AxisName) -> Axis | None:
        """One of the axes, or None."""
        return next((axis for axis in self.axes if axis.name == name), None)

    @property
    def gray(self) -> Values | None:
        """The `(height, width)` values of the grey picture or of the shown channel.

        None for a colour picture, whose grey can be several things.
        """
        if self.colored:
            return None
        if self.values.ndim == 2:
            return self.values
        channel = self.axis("channel")
        return self.values[:, :, channel.index if channel else 0]

    @property
    def counted(self) -> Values:
        """What is counted of the values: all finite, `(height, width)` or `(height, width, 3)` RGB.

        What is no number counts as the smallest value, as it is shown.
        """
        values = self.values if self.gray is None else self.gray
        if values.dtype.kind != "f":
            return values
        finite = np.isfinite(values)
        if finite.all():
            return values
        low, high = (values[finite].min(), values[finite].max()) if finite.any() else (0, 0)
        return np.nan_to_num(values, nan=low, posinf=high, neginf=low)
