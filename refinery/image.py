"""Image files as the rest of refinery sees them; `refinery.images` does the work."""

from refinery.images.colour_key import transparent_kept
from refinery.images.conversions import as_channels, from_float, to_float
from refinery.images.decoded import FORMATS, MAX_PIXELS, MIN_SIDE_PX, SUFFIXES, Decoded
from refinery.images.decoding import decode, size_of, stored_orientation
from refinery.images.encoding import JPEG_QUALITY, encode
from refinery.images.orientation import as_stored, upright

__all__ = [
    "FORMATS",
    "JPEG_QUALITY",
    "MAX_PIXELS",
    "MIN_SIDE_PX",
    "SUFFIXES",
    "Decoded",
    "as_channels",
    "as_stored",
    "decode",
    "encode",
    "from_float",
    "size_of",
    "stored_orientation",
    "to_float",
    "transparent_kept",
    "upright",
]
