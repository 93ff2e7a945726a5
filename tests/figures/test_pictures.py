"""Facts about `seg.figures.pictures`: colours at known pixels, files that hold a picture."""

import cv2
import numpy as np
import pytest

from seg.contracts import SegError
from seg.figures.panels import CAPTION_PX, GAP_PX, PANEL_PX, SMALLEST_PX
from seg.figures.pictures import Style, overlay, sheet, triptych, write_png

TRUTHS_RGB = (0, 200, 83), (64, 156, 255), (0, 229, 229), (170, 120, 255)
PREDICTIONS_RGB = (255, 64, 160), (255, 152, 0), (255, 235, 59), (229, 57, 53)
TRUTH_RGB, PREDICTION_RGB = TRUTHS_RGB[0], PREDICTIONS_RGB[0]

# Large enough to be drawn pixel for pixel.
SIZE = 256, 300
NO_MASK = np.zeros(SIZE, bool)
NO_MAP = np.zeros((*SIZE, 1))


def box(top, bottom, left, right):
    mask_HW = NO_MASK.copy()
    mask_HW[top:bottom, left:right] = True
    return mask_HW


def read_rgb(path):
    return cv2.imread(str(path), cv2.IMREAD_UNCHANGED)[..., ::-1]


def coloured(picture, colour):
    return (picture == colour).all(axis=-1)


def test_a_colour_picture_is_read_back_with_red_first(tmp_path):
    picture = np.random.default_rng(0).integers(0, 256, (5, 7, 3), np.uint8)
    picture[0, 0] = 250, 100, 3
    write_png(tmp_path / "a.png", picture)
    assert tuple(read_rgb(tmp_path / "a.png")[0, 0]) == (250, 100, 3)
    np.testing.assert_array_equal(read_rgb(tmp_path / "a.png"), picture)


def test_a_grey_picture_is_read_back_grey(tmp_path):
    picture = np.random.default_rng(0).integers(0, 256, (5, 7), np.uint8)
    write_png(tmp_path / "a.png", picture)
    np.testing.assert_array_equal(
        cv2.imread(str(tmp_path / "a.png"), cv2.IMREAD_UNCHANGED), picture
    )


def test_folders_on_the_way_are_made_and_names_may_hold_any_letter(tmp_path):
    path = tmp_path / "größe" / "deep" / "maß 1.png"
    write_png(path, np.zeros((2, 2), np.uint8))
    assert path.is_file()


def test_a_picture_that_cannot_be_written_is_an_os_error(tmp_path):
    (tmp_path / "taken.png").mkdir()
    with pytest.raises(OSError, match="taken.png"):
        write_png(tmp_path / "taken.png", np.zeros((2, 2), np.uint8))


@pytest.mark.parametrize("channels", [1, 3])
def test_a_triptych_is_three_panels_wide_and_a_caption_higher(channels):
    picture = triptych(np.zeros((*SIZE, channels)), NO_MAP, NO_MAP)
    assert picture.shape == (256 + CAPTION_PX, 900, 3)
    assert picture.dtype == np.uint8


def test_a_triptych_shows_input_truth_and_probability_from_left_to_right():
    image_HWC = np.full((*SIZE, 3), (1.0, 0.4, 0.0))
    picture = triptych(image_HWC, box(0, 10, 0, 300)[..., None], NO_MAP + 0.6)[CAPTION_PX:]
    assert coloured(picture[:, :300], (255, 102, 0)).all()
    assert coloured(picture[:10, 300:600], (255, 255, 255)).all()
    assert coloured(picture[10:, 300:600], (0, 0, 0)).all()
    assert coloured(picture[:, 600:], (153, 153, 153)).all()


def test_every_panel_of_a_triptych_has_a_caption_above():
    strip = triptych(NO_MAP, NO_MAP, NO_MAP)[:CAPTION_PX]
    assert all(panel.max() > 200 for panel in np.hsplit(strip, 3))


def test_values_beyond_the_range_are_clipped_not_wrapped():
    picture = triptych(NO_MAP + 1.5, NO_MAP, NO_MAP - 0.5)[CAPTION_PX:]
    assert coloured(picture[:, :300], (255, 255, 255)).all()
    assert coloured(picture[:, 600:], (0, 0, 0)).all()


@pytest.mark.parametrize("channels", [1, 3])
def test_an_overlay_is_a_caption_higher_than_the_image(channels):
    picture = overlay(np.zeros((*SIZE, channels)), NO_MASK, NO_MASK)
    assert picture.shape == (256 + CAPTION_PX, 300, 3)
    assert picture.dtype == np.uint8


def test_an_overlay_outlines_truth_and_prediction_and_leaves_the_rest():
    picture = overlay(np.full((*SIZE, 1), 0.2), box(5, 15, 5, 25), box(20, 35, 30, 50))
    picture = picture[CAPTION_PX:]
    rim = box(5, 15, 5, 25) & ~box(6, 14, 6, 24)
    np.testing.assert_array_equal(coloured(picture, TRUTH_RGB), rim)
    predicted_rim = box(20, 35, 30, 50) & ~box(21, 34, 31, 49)
    np.testing.assert_array_equal(coloured(picture, PREDICTION_RGB), predicted_rim)
    assert coloured(picture, (51, 51, 51))[~rim & ~predicted_rim].all()


def test_a_prediction_equal_to_the_truth_is_drawn_over_it():
    picture = overlay(np.zeros((*SIZE, 1)), box(5, 15, 5, 25), box(5, 15, 5, 25))[CAPTION_PX:]
    assert not coloured(picture, TRUTH_RGB).any()
    assert coloured(picture, PREDICTION_RGB)[5, 5:25].all()


def test_a_single_pixel_is_outlined_too():
    picture = overlay(np.zeros((*SIZE, 1)), box(7, 8, 9, 10), NO_MASK)[CAPTION_PX:]
    np.testing.assert_array_equal(coloured(picture, TRUTH_RGB), box(7, 8, 9, 10))


def test_a_hole_is_outlined_too():
    ring = box(5, 35, 5, 35) & ~box(15, 25, 15, 25)
    picture = overlay(np.zeros((*SIZE, 1)), ring, NO_MASK)[CAPTION_PX:]
    assert coloured(picture, TRUTH_RGB)[14, 15:25].all()
    assert coloured(picture, TRUTH_RGB)[15:25, 25].all()


def test_an_overlay_leaves_its_image_and_masks_as_they_were():
    image_HWC, mask_HW = np.full((*SIZE, 3), 0.5), box(5, 15, 5, 25)
    overlay(image_HWC, mask_HW, mask_HW)
    assert (image_HWC == 0.5).all()
    np.testing.assert_array_equal(mask_HW, box(5, 15, 5, 25))


def test_the_legend_above_an_overlay_is_in_both_colours():
    strip = overlay(np.zeros((*SIZE, 1)), NO_MASK, NO_MASK)[:CAPTION_PX]
    red, green, _ = np.moveaxis(strip.astype(int), -1, 0)
    assert ((green > 100) & (red < green / 10)).any()
    assert ((red > 100) & (green < red / 2)).any()


@pytest.mark.parametrize(("size", "times"), [((100, 300), 3), ((300, 128), 2), ((257, 256), 1)])
def test_a_small_picture_is_enlarged_by_the_least_whole_number_that_suffices(size, times):
    wanted = CAPTION_PX + size[0] * times, size[1] * times
    zeros, no_mask = np.zeros((*size, 1)), np.zeros(size, bool)
    assert min(size) * times >= SMALLEST_PX > min(size) * (times - 1)
    assert overlay(zeros, no_mask, no_mask).shape == (*wanted, 3)
    assert triptych(zeros, zeros, zeros).shape == (wanted[0], 3 * wanted[1], 3)


def test_the_outline_of_an_enlarged_picture_stays_one_pixel_thin():
    """64 x 64 is enlarged four times: a pixel becomes a square of four, its rim is drawn."""
    mask_HW = np.zeros((64, 64), bool)
    mask_HW[10, 20] = True
    picture = overlay(np.zeros((64, 64, 1)), mask_HW, np.zeros((64, 64), bool))[CAPTION_PX:]
    rim = np.zeros((256, 256), bool)
    rim[40:44, 80:84] = True
    rim[41:43, 81:83] = False
    np.testing.assert_array_equal(coloured(picture, TRUTH_RGB), rim)


def differ(one, other):
    return one.shape != other.shape or (one != other).any()


def sample(mask_HW, name="a", grey=0.2, channels=1):
    return np.full((*mask_HW.shape, channels), grey), mask_HW, name


def panels(picture):
    """Return the two panels of a sheet with one tile: image with outline, and mask."""
    tile = picture[GAP_PX + CAPTION_PX : -GAP_PX, GAP_PX:-GAP_PX]
    assert tile.shape[0] == PANEL_PX
    return tile[:, :PANEL_PX], tile[:, -PANEL_PX:]


@pytest.mark.parametrize(
    ("n", "rows", "columns"), [(1, 1, 1), (2, 1, 2), (5, 2, 3), (9, 3, 3), (12, 3, 4), (16, 4, 4)]
)
def test_a_sheet_is_as_nearly_square_as_its_tiles_allow(n, rows, columns):
    picture = sheet([sample(np.zeros((32, 32), bool))] * n)
    tile = sheet([sample(np.zeros((32, 32), bool))])[GAP_PX:, GAP_PX:].shape
    assert picture.shape == (GAP_PX + rows * tile[0], GAP_PX + columns * tile[1], 3)
    assert picture.dtype == np.uint8


def test_the_tiles_of_a_sheet_run_in_rows():
    picture = sheet([sample(np.zeros((256, 256), bool), grey=i / 5) for i in range(3)])
    height, width = GAP_PX + CAPTION_PX + PANEL_PX, (picture.shape[1] - GAP_PX) // 2
    greys = [picture[y - 9, x + 20, 0] for y in (height, 2 * height) for x in (0, width)]
    assert greys == [0, 51, 102, 255]


@pytest.mark.parametrize("channels", [1, 3])
def test_a_tile_outlines_the_mask_beside_the_plain_mask(channels):
    mask_HW = np.zeros((256, 256), bool)
    mask_HW[40:60, 100:150] = True
    rim = mask_HW.copy()
    rim[41:59, 101:149] = False
    image, mask = panels(sheet([sample(mask_HW, channels=channels)]))
    np.testing.assert_array_equal(coloured(image, TRUTH_RGB), rim)
    assert coloured(image, (51, 51, 51))[~rim].all()
    np.testing.assert_array_equal(coloured(mask, (255, 255, 255)), mask_HW)
    assert coloured(mask, (0, 0, 0))[~mask_HW].all()


def test_a_small_image_is_enlarged_by_whole_pixels_in_its_tile():
    """100 x 60 fits twice into 256: 200 x 120 in the middle, its outline one pixel thin."""
    mask_HW = np.zeros((100, 60), bool)
    mask_HW[10, 20] = True
    image, mask = panels(sheet([sample(mask_HW)]))
    grey = coloured(image, (51, 51, 51)) | coloured(image, TRUTH_RGB)
    wanted = np.zeros((256, 256), bool)
    wanted[28:228, 68:188] = True
    np.testing.assert_array_equal(grey, wanted)
    pixel = np.zeros((256, 256), bool)
    pixel[28 + 20 : 28 + 22, 68 + 40 : 68 + 42] = True
    np.testing.assert_array_equal(coloured(mask, (255, 255, 255)), pixel)
    np.testing.assert_array_equal(coloured(image, TRUTH_RGB), pixel)


def test_a_large_image_is_shrunk_and_loses_no_pixel_of_its_mask():
    """1024 x 512 is shrunk four times: a pixel of the mask becomes the pixel it lies in."""
    mask_HW = np.zeros((1024, 512), bool)
    mask_HW[401, 202] = True
    image, mask = panels(sheet([sample(mask_HW)]))
    pixel = np.zeros((256, 256), bool)
    pixel[100, 64 + 50] = True
    np.testing.assert_array_equal(coloured(image, TRUTH_RGB), pixel)
    np.testing.assert_array_equal(coloured(mask, (255, 255, 255)), pixel)
    assert coloured(image[:, 64:192], (51, 51, 51)).sum() == 256 * 128 - 1


def test_a_tile_tells_its_name_and_whether_there_is_a_target():
    empty, full = np.zeros((256, 256), bool), np.ones((256, 256), bool)
    strips = [
        sheet([sample(mask_HW, name)])[GAP_PX : GAP_PX + CAPTION_PX]
        for mask_HW, name in ((empty, "a"), (full, "a"), (empty, "b"))
    ]
    assert all((strip == 255).all(axis=-1).any() for strip in strips)
    assert differ(strips[0], strips[1])
    assert differ(strips[0], strips[2])


def test_long_names_are_told_apart_by_their_ends_and_leave_room_for_the_target():
    def strip(name):
        picture = sheet([sample(np.zeros((256, 256), bool), name)])
        return picture[GAP_PX : GAP_PX + CAPTION_PX, GAP_PX:-GAP_PX]

    assert differ(strip("x" * 99 + "1"), strip("x" * 99 + "2"))
    short, long = strip("x"), strip("x" * 99)
    greens = [(s[..., 1].astype(int) - s[..., 0] > 50).sum() for s in (short, long)]
    assert greens[0] == greens[1] > 0


def test_a_sheet_leaves_its_images_and_masks_as_they_were():
    image_HWC, mask_HW = np.full((256, 256, 3), 0.5), np.zeros((256, 256), bool)
    mask_HW[3:9, 3:9] = True
    kept = mask_HW.copy()
    sheet([(image_HWC, mask_HW, "a")])
    assert (image_HWC == 0.5).all()
    np.testing.assert_array_equal(mask_HW, kept)


# Several classes


def two_boxes(first, second):
    mask_HW = np.zeros(SIZE, np.uint8)
    mask_HW[first], mask_HW[second] = 1, 2
    return mask_HW


LEFT, RIGHT = np.s_[20:40, 20:60], np.s_[20:40, 100:150]
LOW_LEFT, LOW_RIGHT = np.s_[120:140, 20:60], np.s_[120:140, 100:150]


def rim(box):
    rows, columns = box
    outline_HW = NO_MASK.copy()
    outline_HW[box] = True
    outline_HW[rows.start + 1 : rows.stop - 1, columns.start + 1 : columns.stop - 1] = False
    return outline_HW


def test_the_outlines_of_classes_have_colours_of_their_own_on_either_side():
    picture = overlay(NO_MAP, two_boxes(LEFT, RIGHT), two_boxes(LOW_LEFT, LOW_RIGHT), ["a", "b"])
    picture = picture[2 * CAPTION_PX :]
    boxes = (LEFT, TRUTHS_RGB[0]), (RIGHT, TRUTHS_RGB[1])
    boxes += (LOW_LEFT, PREDICTIONS_RGB[0]), (LOW_RIGHT, PREDICTIONS_RGB[1])
    for box_, colour in boxes:
        np.testing.assert_array_equal(coloured(picture, colour), rim(box_))
    assert len({*TRUTHS_RGB, *PREDICTIONS_RGB}) == 8


def test_touching_classes_are_outlined_apart():
    mask_HW = two_boxes(np.s_[20:40, 20:60], np.s_[20:40, 60:90])
    picture = overlay(NO_MAP, mask_HW, NO_MASK, ["a", "b"])[2 * CAPTION_PX :]
    assert coloured(picture, TRUTHS_RGB[0])[25, [20, 59]].all()
    assert coloured(picture, TRUTHS_RGB[1])[25, [60, 89]].all()


def test_the_legend_of_classes_names_them_in_both_colours():
    strips = overlay(NO_MAP, NO_MASK, NO_MASK, ["liver", "tumour"])[: 2 * CAPTION_PX]
    for strip, colours in zip(np.vsplit(strips, 2), (TRUTHS_RGB, PREDICTIONS_RGB), strict=True):
        hues = strip[strip.max(axis=-1) > 150].astype(float)
        hues /= hues.max(axis=-1, keepdims=True)
        for colour in colours[:2]:
            assert np.abs(hues - np.array(colour) / max(colour)).sum(axis=-1).min() < 0.2


def test_more_classes_than_colours_begin_again():
    mask_HW = NO_MASK.astype(np.uint8)
    mask_HW[LEFT] = 5
    picture = overlay(NO_MAP, mask_HW, NO_MASK, list("abcde"))[2 * CAPTION_PX :]
    np.testing.assert_array_equal(coloured(picture, TRUTHS_RGB[0]), rim(LEFT))


def test_one_class_with_a_name_is_drawn_as_one_without():
    mask_HW = box(5, 15, 5, 25)
    named = overlay(NO_MAP, mask_HW.astype(np.uint8), NO_MASK, ["lesion"])[2 * CAPTION_PX :]
    np.testing.assert_array_equal(named, overlay(NO_MAP, mask_HW, NO_MASK)[CAPTION_PX:])


def test_a_triptych_of_classes_shows_each_in_its_colour_the_darker_the_less_probable():
    truth_HWK, p_HWK = np.zeros((*SIZE, 2)), np.zeros((*SIZE, 2))
    truth_HWK[:10, :, 0], truth_HWK[10:, :, 1] = 1, 1
    p_HWK[:10, :, 0], p_HWK[10:, :, 1] = 1, 0.5
    picture = triptych(NO_MAP, truth_HWK, p_HWK)[CAPTION_PX:]
    assert coloured(picture[:10, 300:], TRUTHS_RGB[0]).all()
    assert coloured(picture[10:, 300:600], TRUTHS_RGB[1]).all()
    assert coloured(picture[10:, 600:], (32, 78, 128)).all()


# Style, and no truth


def styled(truth_HW, mask_HW, names=(), **style):
    """Return an overlay on black, without its legend."""
    picture = overlay(NO_MAP, truth_HW, mask_HW, names, Style(**style))
    return picture[CAPTION_PX * (2 if names else 1) :]


def test_the_default_style_is_what_is_drawn_where_none_is_given():
    mask_HW, truth_HW = two_boxes(LEFT, RIGHT), two_boxes(LOW_LEFT, LOW_RIGHT)
    without = overlay(NO_MAP, truth_HW, mask_HW, ["a", "b"])
    np.testing.assert_array_equal(without, overlay(NO_MAP, truth_HW, mask_HW, ["a", "b"], Style()))
    assert [Style().truth(i) for i in range(1, 6)] == [*TRUTHS_RGB, TRUTH_RGB]
    assert [Style().prediction(i) for i in range(1, 6)] == [*PREDICTIONS_RGB, PREDICTION_RGB]


def test_colours_are_taken_in_order_and_over_again():
    mask_HW = two_boxes(LEFT, RIGHT)
    mask_HW[LOW_LEFT] = 3
    colours = {"truth_colours": ["#0102ff"], "prediction_colours": ["#A0b0C0", "#112233"]}
    picture = styled(NO_MASK, mask_HW, ["a", "b", "c"], **colours)
    for box_, colour in ((LEFT, (160, 176, 192)), (RIGHT, (17, 34, 51))):
        np.testing.assert_array_equal(coloured(picture, colour)[box_], rim(box_)[box_])
    np.testing.assert_array_equal(coloured(picture, (160, 176, 192)), rim(LEFT) | rim(LOW_LEFT))
    picture = styled(mask_HW, NO_MASK, ["a", "b", "c"], **colours)
    rims = rim(LEFT) | rim(RIGHT) | rim(LOW_LEFT)
    np.testing.assert_array_equal(coloured(picture, (1, 2, 255)), rims)


@pytest.mark.parametrize("width_px", [1, 2, 5])
def test_an_outline_grows_to_the_inside(width_px):
    inside = box(40 + width_px, 80 - width_px, 40 + width_px, 90 - width_px)
    picture = styled(NO_MASK, box(40, 80, 40, 90), outline_px=width_px)
    wanted = box(40, 80, 40, 90) & ~inside
    np.testing.assert_array_equal(coloured(picture, PREDICTION_RGB), wanted)
    assert not picture[~wanted].any()


def test_an_area_is_filled_and_the_image_shines_through():
    """Of grey 51 three quarters are 38.25, to which a quarter of the colour is added."""
    grey = np.full((*SIZE, 1), 0.2)
    picture = overlay(grey, box(40, 60, 40, 70), NO_MASK, style=Style(outline_px=0, opacity=0.25))
    filled = [round(38.25 + value / 4) for value in TRUTH_RGB]
    np.testing.assert_array_equal(coloured(picture[CAPTION_PX:], filled), box(40, 60, 40, 70))
    assert coloured(picture[CAPTION_PX:], (51, 51, 51)).sum() == 256 * 300 - 20 * 30


def test_outlines_lie_over_every_area():
    """The prediction covers the truth, whose outline stays."""
    picture = styled(box(50, 60, 50, 60), box(40, 80, 40, 90), opacity=1.0)
    ring = box(50, 60, 50, 60) & ~box(51, 59, 51, 59)
    np.testing.assert_array_equal(coloured(picture, TRUTH_RGB), ring)
    np.testing.assert_array_equal(coloured(picture, PREDICTION_RGB), box(40, 80, 40, 90) & ~ring)


@pytest.mark.parametrize(("names", "lines"), [((), 1), (("liver", "tumour"), 1)])
def test_without_truth_only_the_prediction_is_drawn_and_named(names, lines):
    mask_HW = box(20, 40, 20, 60)
    picture = overlay(NO_MAP, None, mask_HW, names)
    assert len(picture) == SIZE[0] + lines * CAPTION_PX
    np.testing.assert_array_equal(coloured(picture[CAPTION_PX:], PREDICTION_RGB), rim(LEFT))
    red, green, _ = np.moveaxis(picture.astype(int), -1, 0)
    assert not (green > red + 100).any()
    if names:
        with_truth = overlay(NO_MAP, NO_MASK, mask_HW, names)
        np.testing.assert_array_equal(picture[:CAPTION_PX], with_truth[CAPTION_PX:][:CAPTION_PX])


@pytest.mark.parametrize(
    ("style", "message"),
    [
        ({"truth_colours": ["#00c853", "red"]}, "overlay.truth_colours: 'red' is no colour"),
        ({"prediction_colours": ["#12345"]}, "overlay.prediction_colours: '#12345' is no colour"),
        ({"prediction_colours": [7]}, "overlay.prediction_colours: 7 is no colour"),
        ({"truth_colours": []}, r"overlay.truth_colours: \[\] is no colour"),
        ({"truth_colours": "#00c853"}, "overlay.truth_colours: '#' is no colour"),
        ({"outline_px": -1}, "overlay.outline_px is -1; give a whole number"),
        ({"outline_px": 1.5}, "overlay.outline_px is 1.5; give a whole number"),
        ({"outline_px": 33}, "overlay.outline_px is 33; .* to 32"),
        ({"opacity": 1.1}, "overlay.opacity is 1.1; give a number from 0"),
        ({"opacity": float("nan")}, "overlay.opacity is nan; give a number from 0"),
        ({"outline_px": 0}, "overlay.outline_px is 0 and overlay.opacity 0.0, so that no mask"),
    ],
)
def test_a_style_that_cannot_be_drawn_is_refused_in_words(style, message):
    with pytest.raises(SegError, match=message):
        Style(**style)
