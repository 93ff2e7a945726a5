"""Reading and resizing of slices: the one place that knows about pixel formats.

Axes: H height, W width, C channels.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from seg.contracts import Classes, SegError

# Sizes are read by Pillow, which refuses large headers; OpenCV decodes, and has its own limit.
Image.MAX_IMAGE_PIXELS = None
SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff")
FULL_SCALE = 65535
UNKNOWN = 255


def read_image(path: Path, channels: int) -> np.ndarray:
    """Read an 8- or 16-bit picture as uint16 HWC over 0..65535.

    Args:
        path: grey or colour file; alpha is dropped.
        channels: 1 to get grey, 3 to get RGB.

    Raises:
        SegError: the file cannot be decoded or has other pixels than uint8 and uint16.
    """
    return as_image(read_pixels(path), channels)


def read_pixels(path: Path) -> np.ndarray:
    """Read an 8- or 16-bit picture as it is stored, grey HW or RGB HWC; alpha is dropped.

    Raises:
        SegError: as `read_image`.
    """
    pixels = _decode(path)
    if path.suffix.lower().startswith(".tif") and cv2.imcount(str(path)) > 1:
        raise SegError(f"{path}: has several pages; give each slice a file of its own")
    return pixels if pixels.ndim == 2 else cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB)


def as_image(pixels: np.ndarray, channels: int) -> np.ndarray:
    """Bring uint8 or uint16 pixels, grey HW or HW1 or RGB HWC, to what `read_image` returns.

    Raises:
        SegError: the pixels are others.
    """
    if pixels.dtype not in (np.uint8, np.uint16) or pixels.shape[2:] not in ((), (1,), (3,)):
        raise SegError(
            f"a picture has 1 or 3 channels of 8- or 16-bit integers. Received: {pixels.dtype}, "
            f"{' x '.join(map(str, pixels.shape))}; such a volume must be prepared"
        )
    if pixels.ndim == 3 and pixels.shape[-1] == 1:
        pixels = pixels[..., 0]
    grey = pixels.ndim == 2
    if channels == 1:
        image_HWC = (pixels if grey else cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY))[..., None]
    else:
        image_HWC = cv2.cvtColor(pixels, cv2.COLOR_GRAY2RGB) if grey else pixels
    return image_HWC.astype(np.uint16) * 257 if image_HWC.dtype == np.uint8 else image_HWC


def largest(paths: Iterable[Path]) -> tuple[int, int]:
    """Return the largest height and the largest width of pictures, by their headers."""
    sizes = []
    for path in paths:
        with Image.open(path) as picture:
            sizes.append(picture.size)
    width, height = np.max(sizes, axis=0).tolist()
    return height, width


def read_mask(path: Path, classes: Classes) -> np.ndarray:
    """Read a mask as HW: uint8 index of each pixel's class, or bool where they have no labels.

    Without labels a pixel is True where any colour channel exceeds the threshold (of 0..255).

    Raises:
        SegError: as `read_image`; a pixel has a value that is neither 0 nor a label.
    """
    if not classes.labels:
        return brightest(path) > classes.threshold
    label_HW = read_label(path)
    index_of_value = np.full(FULL_SCALE + 1, UNKNOWN, np.uint8)
    index_of_value[list(classes.values)] = range(len(classes.values))
    mask_HW = index_of_value[label_HW]
    if (mask_HW == UNKNOWN).any():
        named = ", ".join(f"{name}: {value}" for name, value in classes.labels.items())
        raise SegError(
            f"{path}: pixels must be 0 or named in dataset.labels={{{named}}}, received "
            f"{label_HW[mask_HW == UNKNOWN].min()}; name that value too, or mend the mask"
        )
    return mask_HW


def brightest(path: Path) -> np.ndarray:
    """Read a file as float32 HW over 0..255: the largest colour channel of each pixel."""
    largest_HW = _largest(_decode(path))
    per_unit = 257 if largest_HW.dtype == np.uint16 else 1
    return largest_HW.astype(np.float32) / per_unit


def read_label(path: Path) -> np.ndarray:
    """Read a label as stored, uint8 or uint16 HW.

    The value of a pixel is its index in a PNG with a palette, else its largest colour channel.
    """
    pixels = _decode(path)
    with path.open("rb") as file:
        is_palette = file.read(26)[25:] == b"\3" and path.suffix.lower() == ".png"
    if is_palette:
        return np.asarray(Image.open(path))
    return _largest(pixels)


def encode_png(pixels: np.ndarray) -> bytes:
    """Return grey HW or HW1, or RGB HWC pixels, uint8 or uint16, as the bytes of a PNG file."""
    return cv2.imencode(".png", pixels if pixels.ndim == 2 else pixels[..., ::-1])[1].tobytes()


def fit_image(image_HWC: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Scale to `size` (height, width) keeping the aspect ratio; the rest is zero, evenly around.

    Shrinks by area averaging, grows bilinearly; dtype and channel count stay.
    """
    height, width = _inner_size(image_HWC.shape[:2], size)
    shrinks = height < image_HWC.shape[0]
    scaled = cv2.resize(
        image_HWC, (width, height), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    ).reshape(height, width, -1)
    return np.pad(scaled, [*_padding((height, width), size), (0, 0)])


def fit_mask(mask_HW: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Scale a bool or uint8 mask as `fit_image` does its image, by nearest neighbour (centres)."""
    height, width = _inner_size(mask_HW.shape, size)
    scaled = cv2.resize(
        mask_HW.astype(np.uint8), (width, height), interpolation=cv2.INTER_NEAREST_EXACT
    )
    return np.pad(scaled, _padding((height, width), size)).astype(mask_HW.dtype)


def unfit(map_HW: np.ndarray, original: tuple[int, int]) -> np.ndarray:
    """Bring a float32 map of the model's size back to the `original` one, bilinearly."""
    inner = _inner_size(original, map_HW.shape)
    (top, _), (left, _) = _padding(inner, map_HW.shape)
    cropped = map_HW[top : top + inner[0], left : left + inner[1]]
    return cv2.resize(cropped, original[::-1], interpolation=cv2.INTER_LINEAR)


def _inner_size(original: tuple[int, int], size: tuple[int, int]) -> tuple[int, int]:
    scale = min(size[0] / original[0], size[1] / original[1])
    return max(1, round(original[0] * scale)), max(1, round(original[1] * scale))


def _padding(inner: tuple[int, int], size: tuple[int, int]) -> list[tuple[int, int]]:
    before = [(full - part) // 2 for full, part in zip(size, inner, strict=True)]
    return [(b, full - part - b) for b, full, part in zip(before, size, inner, strict=True)]


def _largest(pixels: np.ndarray) -> np.ndarray:
    return pixels if pixels.ndim == 2 else pixels.max(axis=-1)


def _decode(path: Path) -> np.ndarray:
    try:
        encoded = np.fromfile(path, dtype=np.uint8)
        pixels = cv2.imdecode(encoded, cv2.IMREAD_UNCHANGED) if encoded.size else None
    except OSError as error:
        raise SegError(f"{path}: cannot be read ({error.strerror}); mend or replace it") from error
    except cv2.error:  # more pixels than OpenCV takes: a damaged header
        pixels = None
    if pixels is None:
        raise SegError(f"{path}: not a readable image; replace the file or take the pair away")
    if pixels.dtype not in (np.uint8, np.uint16):
        raise SegError(
            f"{path}: pixels must be 8- or 16-bit unsigned integers, received {pixels.dtype}; "
            "window the intensities and store them as PNG"
        )
    return pixels[..., :3] if pixels.ndim == 3 and pixels.shape[-1] == 4 else pixels
