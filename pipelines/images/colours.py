"""Convert the decoded samples of an image, whatever they represent, to sRGB."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageChops

from pipelines.images.layout import Layout, UntrustedColoursError
from pipelines.images.loading import STRIP_PIXELS
from pipelines.images.profiles import apply_profile, colour_space

# JPEG rings at the edges of a mask: a few pixels there have values near 0 and 255 instead.
_RINGING = 32
_MASK_SHARE = 0.98
# Share of the samples of 16 bits in the brighter half. Satellites' bands seldom reach it: white is at 10,000 or so.
_BRIGHT_SHARE = 0.01
# Spread, in levels, of the other three components where the fourth is at its maximum. Read as CMYK, such pixels are
# solid black, and any picture under them would be invisible.
_PICTURE_SPREAD = 8.0


def to_srgb(image: Image.Image, layout: Layout) -> tuple[Image.Image, list[str]]:
    """Convert a decoded image of any layout to mode RGB, and name each step.

    Args:
      image: as decoded by Pillow. The four components of a JPEG are inverted if it has an Adobe marker, and as stored
        otherwise.
      layout: of the same file.

    Returns:
      The image, and the repairs in the order applied.

    Raises:
      UntrustedColoursError: the meaning of the samples is ambiguous.
    """
    transparent = layout.has_opacity or "transparency" in image.info or image.mode in ("LA", "La", "PA", "RGBA", "RGBa")
    image, repairs = _arrange_samples(image, layout)
    gray = layout.gray or image.mode in ("1", "L", "LA", "La")
    if gray:
        repairs.append("grayscale")
    repairs += ["alpha_dropped"] * transparent if layout.left_out is None else layout.left_out
    if image.mode not in ("1", "L", "LA", "La", "P", "PA", "RGB", "RGBA", "RGBa", "CMYK"):
        raise UntrustedColoursError(f"{layout.format.upper()} in Pillow mode {image.mode}: its colours are ambiguous")
    if image.mode != "CMYK":
        # A palette with more than one transparent colour would make Pillow warn.
        image.info.pop("transparency", None)
        image = _in_mode(image, "L" if gray else "RGB")
    if layout.is_inverted:
        image = ImageChops.invert(image)
    if layout.profile is not None:
        image, repair = apply_profile(image, layout.profile)
        if repair == "icc_ignored" and "unmarked_rgba_jpeg" in repairs:
            raise UntrustedColoursError(
                "4-component JPEG without an Adobe marker, with an ICC profile that does not fit"
            )
        repairs += [repair] if repair else []
    elif layout.ignores_space:
        repairs.append("colour_space_ignored")
    return _in_mode(image, "RGB"), repairs


def _arrange_samples(image: Image.Image, layout: Layout) -> tuple[Image.Image, list[str]]:
    """Bring the samples to what they stand for, 8 bits each, in the order of their colours."""
    repairs: list[str] = []
    if layout.no_data is not None and _holds(image, layout.no_data):
        repairs.append("no_data_kept")
    if layout.format == "jpeg" and layout.samples == 4:
        image, repairs = _read_four_components(image, layout)
    elif image.mode == "CMYK":
        repairs.append("cmyk")
    if layout.bits == 16:
        image = _to_eight_bits(image, layout)
        repairs.append("depth_scaled")
    if layout.palette is not None:
        image.putpalette(layout.palette)
    if image.mode in ("P", "PA"):
        repairs.append("palette")
    if layout.is_premultiplied:
        _divide_by_opacity(image)
    if layout.bands != (0, 1, 2):
        repairs.append("bands_" + "".join(str(band + 1) for band in layout.bands))
        image = Image.merge("RGB", [image.getchannel(band) for band in layout.bands])
    return image, repairs


def find_holes(image: Image.Image, layout: Layout, holes: NDArray[np.bool_]) -> None:
    """Find the pixels of a decoded image that hold no data, or are transparent.

    Args:
      image: as decoded by Pillow.
      layout: of the same file.
      holes: bool[height, width], receives which they are.
    """
    # Of TIFFs, Pillow takes other bands for opacity as well: near infrared, which is zero over water.
    is_opacity = layout.left_out is None or layout.opacity > 0
    has_opacity = is_opacity and image.mode in ("LA", "La", "RGBA", "RGBa")
    for top, strip in _strips(image):
        if layout.no_data is not None:
            holes[top : top + strip.height] |= _have(strip, layout.no_data)
        if has_opacity:
            holes[top : top + strip.height] |= np.asarray(strip.getchannel("A")) == 0


def _in_mode(image: Image.Image, mode: str) -> Image.Image:
    """Convert an image to a mode, without the copy Pillow makes if the image already has it."""
    return image if image.mode == mode else image.convert(mode)


def _read_four_components(image: Image.Image, layout: Layout) -> tuple[Image.Image, list[str]]:
    """Determine what the components of a 4-component JPEG are.

    With an Adobe marker they are inverted CMYK, or YCCK, which the decoder has converted to inverted CMYK (ITU-T T.872,
    section 6.5.3). Without one, only their values distinguish RGB with a fourth component from CMYK. Pillow reads both
    as inverted CMYK, and TensorFlow's decoder turns the former black.

    Args:
      image: of mode CMYK, as `images` opens it: inverted with an Adobe marker, as stored without one.
      layout: of the same file.

    Returns:
      An image of mode RGB or CMYK (255 is full ink), and the repairs.
    """
    if layout.adobe_transform is not None:
        if layout.adobe_transform not in (0, 2):
            raise UntrustedColoursError(f"4-component JPEG with unknown Adobe transform {layout.adobe_transform}")
        return image, ["ycck" if layout.adobe_transform == 2 else "cmyk_inverted"]
    # NumPy's minimum takes a third of the time of Pillow's extremes.
    if np.asarray(image.getchannel("K")).min() == 255:
        return _drop_fourth(image), ["unmarked_rgba_jpeg"]
    is_mask = _is_mask(image)
    says_cmyk = layout.component_ids == b"CMYK"
    if colour_space(layout.profile or b"") == "CMYK" or (says_cmyk and not is_mask):
        return image, ["cmyk"]
    if is_mask and not says_cmyk:
        return _drop_fourth(image), ["unmarked_rgba_jpeg", "alpha_dropped"]
    raise UntrustedColoursError(
        "4-component JPEG without an Adobe marker: its fourth component may be black ink, opacity or another band"
    )


def _drop_fourth(image: Image.Image) -> Image.Image:
    """Take the first three of four components as red, green and blue."""
    # If Pillow is configured to align rows, it exports their memory as if there were no gaps between them.
    if Image.core.get_alignment() == 1:  # type: ignore[attr-defined]
        # The memory of a large image is split into several blocks, which cannot be exported.
        with contextlib.suppress(ValueError):
            # The same memory under another mode: Pillow stores RGB as four bytes per pixel, too.
            return Image.fromarrow(image, "RGB", image.size)
    return Image.frombytes("RGB", image.size, image.tobytes(), "raw", "RGBX")


def _is_mask(image: Image.Image) -> bool:
    """Return whether the fourth component is an opacity of 0 or 255, with a picture in the first three under it."""
    fourth = image.getchannel("K")
    counts = fourth.histogram()
    empty, opaque = sum(counts[: _RINGING + 1]), sum(counts[255 - _RINGING :])
    if not opaque or opaque + empty < _MASK_SHARE * image.width * image.height:
        return False
    # Histograms take negligible memory; a standard deviation over the pixels takes 24 bytes per pixel.
    shown = np.reshape(image.histogram(fourth.point([0] * (255 - _RINGING) + [255] * (_RINGING + 1))), (4, 256))[:3]
    levels = np.arange(256)
    means = shown @ levels / opaque
    variances = (shown * (levels - means[:, None]) ** 2).sum(axis=1) / opaque
    return bool(np.sqrt(variances).max() > _PICTURE_SPREAD)


def _holds(image: Image.Image, value: int) -> bool:
    """Return whether all colours of a pixel have a value."""
    return any(_have(strip, value).any() for _, strip in _strips(image))


def _have(image: Image.Image, value: int) -> NDArray[np.bool_]:
    """Return the pixels of which every colour has this value: bool[height, width]."""
    samples = np.atleast_3d(np.asarray(_in_mode(image, "L") if image.mode == "1" else image))
    colours = samples.shape[2] - (image.mode in ("LA", "PA", "RGBA"))
    found: NDArray[np.bool_] = samples[..., 0] == value
    # Few pixels have the value in one band, and a look at the others costs as much again.
    for band in range(1, colours):
        if not found.any():
            break
        found &= samples[..., band] == value
    return found


def _divide_by_opacity(image: Image.Image) -> None:
    """Undo, in place, the multiplication of colours by the opacity that follows them."""
    for top, strip in _strips(image):
        multiplied = Image.frombytes({"LA": "La", "RGBA": "RGBa"}[image.mode], strip.size, strip.tobytes())
        image.paste(multiplied.convert(image.mode), (0, top))


def _strips(image: Image.Image) -> Iterator[tuple[int, Image.Image]]:
    """Yield rows of an image, few enough to be copied, and the number of the first."""
    rows = max(1, STRIP_PIXELS // image.width)
    if rows >= image.height:
        yield 0, image
        return
    for top in range(0, image.height, rows):
        yield top, image.crop((0, top, image.width, min(top + rows, image.height)))


def _fills_range(image: Image.Image, no_data: int | None) -> bool:
    """Return whether the samples of an image, scaled to 8 bits, are those of a picture from black to white.

    Black and white themselves do not count as long as there is anything between: satellites' bands have them where
    there is no data, or too much light.
    """
    counts = _count_levels(image)
    if no_data is not None:
        counts[(no_data * 255 + 32895) >> 16] = 0
    between = counts[1:255].sum()
    if not between:
        return bool(counts[255])
    return bool(counts[128:255].sum() >= _BRIGHT_SHARE * between)


def _exceeds(image: Image.Image, bits: int) -> bool:
    """Return whether some samples, scaled to 8 bits, cannot have had so few bits before: they were scaled, indeed."""
    most = (((1 << bits) - 1) * 255 + 32895) >> 16
    return bits > 0 and bool(_count_levels(image)[most + 1 :].any())


def _count_levels(image: Image.Image) -> NDArray[np.int64]:
    """Count the samples of each level, opacity aside."""
    opaque = image.getbands()[: -1 if image.mode in ("LA", "RGBA") else None]
    counts: NDArray[np.int64] = np.sum([image.getchannel(band).histogram() for band in opaque], axis=0)
    return counts


def _to_eight_bits(image: Image.Image, layout: Layout) -> Image.Image:
    """Scale 16-bit samples to 8 bits.

    Raises:
      UntrustedColoursError: it is unknown which of their values is white.
    """
    scaled = _scale_depth(image)
    if not _fills_range(scaled, layout.no_data) and not _exceeds(scaled, layout.scaled_from):
        raise UntrustedColoursError(
            f"16-bit {layout.format.upper()} whose values are nearly all in the darker half of the range: "
            "it is unknown how bright white is",
            "give --stretch LOW:HIGH" if layout.format == "tiff" else "store it as a TIFF, and give --stretch LOW:HIGH",
        )
    return scaled


def _scale_depth(image: Image.Image) -> Image.Image:
    """Scale 16-bit samples to 8 bits; Pillow's own conversion of 16-bit gray clips at 255 instead."""
    if not image.mode.startswith("I;16"):
        # Pillow has already scaled 16-bit colour, by taking the high byte.
        return image
    samples = np.asarray(image)
    scaled = np.empty(samples.shape, np.uint8)
    rows = max(1, STRIP_PIXELS // image.width)
    for top in range(0, image.height, rows):
        # The rounding of libpng's png_set_scale_16: exact division by 257.
        scaled[top : top + rows] = (samples[top : top + rows].astype(np.uint32) * 255 + 32895) >> 16
    return Image.fromarray(scaled)
