"""Errors that the person who chose the photo can fix: a key, and the values for its sentence.

A page in another language finds its own sentence by the key. `ui/texts` has them all.
"""

SENTENCES = {
    "photo_empty": "The file is empty: please choose another photo.",
    "photo_unreadable": "The file cannot be read: please choose it again.",
    "photo_too_large": "The file is larger than the {megabytes} MB allowed: "
    "please send a smaller copy.",
    "photo_too_many_pixels": "The picture has {width} x {height} pixels, more than the "
    "{megapixels} megapixels allowed: please send a smaller copy.",
    "photo_too_long": "The picture has {width} x {height} pixels, and no side may have more than "
    "{side}: please send a part of it.",
    "photo_far_too_many_pixels": "The picture has far more than the {megapixels} megapixels "
    "allowed: please send a smaller copy.",
    "photo_unknown_format": "This file is damaged or not a picture that can be read here: please "
    "use a JPEG, PNG, WebP, GIF, BMP, TIFF, HEIC, AVIF or JPEG XL file.",
    "photo_damaged": "The picture is damaged or cut off: please save or send it again.",
    "photo_raw": "This is a raw file of a camera, or begins with a thumbnail like one: please "
    "export a JPEG or a TIFF from it.",
    "photo_not_read": "This picture has {what}, which cannot be read here: please save it as a "
    "TIFF without compression, or as a PNG.",
    "photo_no_such_place": "The file has no such picture, because it ends with {axis} {count}: "
    "please choose another one.",
    "photo_needs_memory": "The picture needs too much memory: please send a smaller one.",
    "photo_takes_too_long": "The picture takes too long to read: please save it again, or send "
    "another one.",
    "photo_decoder_ended": "The picture could not be read to its end: please save it again, or "
    "send another one.",
    "photo_has_to_wait": "Too many pictures are being read just now: please send it again in a "
    "minute.",
    "photo_no_decoder": "Pictures cannot be read at the moment: please send it again in a minute.",
    "photo_no_room": "There was no room on the disk for the results of this photo: please analyse "
    "it again in a few minutes.",
    "photo_results_lost": "The mask or the cut-out of this photo is no longer there: please "
    "analyse it again.",
    "photo_left_out": "This photo was not analysed, because the run was stopped before it or there "
    "were too many photos.",
    "search_stopped": "The search was stopped: search again to see what is in this picture.",
    "threshold_empty": "An empty picture has no thresholds.",
    "threshold_one_value": "This picture has only 1 different grey value, too few for {classes} "
    "classes.",
    "threshold_few_values": "This picture has only {values} different grey values, too few for "
    "{classes} classes.",
    "threshold_constant": "All pixels have the same value, so there is nothing to separate.",
    "threshold_only_extremes": "All pixels are pure black or white, so there is nothing left to "
    "choose a cut from.",
    "threshold_no_valley": "The histogram does not settle on two peaks, so there is no valley "
    "between them.",
    "threshold_no_cut": "This histogram has no cut by this method.",
}


class ExplainedError(ValueError):
    """An error whose text is one sentence for the person who chose the photo.

    `type(error)(error.key, **error.values)` makes it again, in another process too: both are plain
    JSON data. `str(error)` is the English sentence.

    Attributes
    ----------
    key
        Of `SENTENCES`.
    values
        Values of the sentence's placeholders.

    Examples
    --------
    >>> str(ExplainedError("photo_too_large", megabytes=25))
    'The file is larger than the 25 MB allowed: please send a smaller copy.'
    """

    def __init__(self, key: str, **values: str | int) -> None:
        super().__init__(SENTENCES[key].format(**values))
        self.key, self.values = key, values

    def __reduce__(self) -> tuple[object, ...]:
        return _again, (type(self), self.key, self.values)


def _again(kind: type[ExplainedError], key: str, values: dict[str, str | int]) -> ExplainedError:
    return kind(key, **values)


def one_line(error: BaseException) -> str:
    """Any error's own message as a part of a sentence; its type if it has none."""
    return " ".join(str(error).split()).rstrip(".") or type(error).__name__
