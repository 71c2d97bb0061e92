"""Network diagrams: every layer is drawn to scale and named; no text overlaps another text or a line."""

import xml.etree.ElementTree as ElementTree
from functools import cache
from itertools import combinations, pairwise
from pathlib import Path

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from lenetlab.networks import layer_table
from lenetlab.report import diagrams, style
from lenetlab.settings import params, schema
from tests.report.drawings import assert_ids_are_unique_and_resolve, assert_text_has_page_colour, ids, parse

COLOUR = "#0072B2"
CATALOGUE = params.load(Path(__file__).parents[2] / "params.yaml").variants


def layers_of(variant: schema.Variant) -> tuple:
    """What decides a variant's layers."""
    rules = variant.regularization
    return variant.model.model_dump_json(), variant.input.size, rules.batch_norm, str(rules.dropout)


def changed(name: str, **settings) -> schema.Variant:
    variant = CATALOGUE[name]
    return variant.model_copy(update={"model": variant.model.model_copy(update=settings)})


# One variant of the catalogue for each set of layers.
VARIANTS = dict({layers_of(variant): (name, variant) for name, variant in reversed(CATALOGUE.items())}.values())

# Close to the largest and the smallest networks that params.yaml allows.
EXTREMES = {
    "many": changed("lenet5-wide-regularized", channels=(65, 100), hidden=(2000, 1000)),
    "few": changed("lenet5-28", channels=(1, 2), hidden=(1, 1)),
    "deep": changed("mlp", hidden=(10000, 7, 400, 30, 1, 10, 10, 10, 10, 100)),
}
ALL = {**VARIANTS, **EXTREMES}


@cache
def table(name: str) -> list[dict]:
    return layer_table.layer_table(ALL[name])


def network(name: str) -> Figure:
    """A new figure."""
    return diagrams.network(table(name), ALL[name].input.size, COLOUR)


def layers(name: str) -> list[dict]:
    """Layers with a name of their own; activations and the like are named after them."""
    return [row for row in table(name) if "_" not in row["name"] and row["name"] != "flatten"]


def maps(name: str) -> dict[str, tuple[int, int]]:
    """Number and side of the feature maps, by layer that has any."""
    shapes = {row["name"]: row["output"].split("×") for row in layers(name)}
    return {key: (int(shape[0]), int(shape[1])) for key, shape in shapes.items() if len(shape) == 3}


@cache
def artists(name: str) -> dict:
    """By id."""
    return {artist.get_gid(): artist for artist in network(name).axes[0].get_children() if artist.get_gid()}


def box(patch) -> np.ndarray:
    """Lower left and upper right corner of a patch, in inches."""
    return np.array([patch.get_xy().min(axis=0), patch.get_xy().max(axis=0)])


def bar(collection) -> np.ndarray:
    """Lower left and upper right corner of a collection, in inches."""
    points = np.concatenate([path.vertices for path in collection.get_paths()])
    return np.array([points.min(axis=0), points.max(axis=0)])


@cache
def drawing(name: str) -> ElementTree.Element:
    return parse(network(name), name)


@pytest.mark.parametrize("name", VARIANTS)
def test_every_map_and_every_vector_is_drawn(name):
    found = ids(drawing(name))
    planes = {f"{name}-map-{stage}-{number}" for stage, (count, _) in maps(name).items() for number in range(count)}
    assert {identity for identity in found if "-map-" in identity} == {*planes, f"{name}-map-input-0"}
    vectors = {f"{name}-units-{row['name']}" for row in layers(name) if "×" not in row["output"]}
    pixels = {f"{name}-units-flatten"} if VARIANTS[name].model.name == "mlp" else set()
    assert {identity for identity in found if "-units-" in identity} == vectors | pixels
    assert not any("ellipsis" in identity for identity in found)


@pytest.mark.parametrize("name", ALL)
def test_every_layer_is_named_with_its_shape(name):
    texts = {key: artist.get_text().split("\n") for key, artist in artists(name).items() if "label" in key}
    size = ALL[name].input.size
    assert texts.pop("label-input") == ["INPUT", f"{size}×{size}"]
    if ALL[name].model.name == "mlp":
        assert texts.pop("label-flatten") == ["PIXELS", str(size**2)]
    assert list(texts) == [f"label-{row['name']}" for row in layers(name)]
    for row, (title, shape) in zip(layers(name), texts.values(), strict=True):
        assert title.partition(":")[0].replace(" ", "").lower() == row["name"]
        assert shape == row["output"].replace("×", "@", 1)


@pytest.mark.parametrize("name", VARIANTS)
def test_maps_are_to_scale(name):
    """Also those at the back, of which only a part is visible."""
    found = artists(name)
    size = VARIANTS[name].input.size
    pixel = np.ptp(box(found["map-input-0"]), axis=0) / size
    assert pixel[0] == pytest.approx(pixel[1])
    for stage, (count, side) in maps(name).items():
        for number in range(count):
            assert np.ptp(box(found[f"map-{stage}-{number}"]), axis=0) == pytest.approx(side * pixel)


@pytest.mark.parametrize("name", ["lenet5", "lenet5-wide-regularized", "few", "many"])
def test_maps_are_stacked_and_hide_those_behind(name):
    found = artists(name)
    for stage, (count, _) in maps(name).items():
        planes = [found[f"map-{stage}-{number}"] for number in range(min(count, 64))]
        steps = [box(behind)[0] - box(front)[0] for front, behind in pairwise(planes)]
        assert all(x < 0 < y for x, y in steps)
        assert np.allclose(steps, steps[0]) if steps else count == 1
        for front, behind in pairwise(planes):
            inside = box(front).mean(axis=0)
            (left, _), (_, top) = box(front)
            assert not behind.get_path().contains_point(inside)
            assert not behind.get_path().contains_point((left + 1e-6, top - 1e-6))
            assert behind.get_path().contains_point((left - 1e-6, top + 1e-6))


@pytest.mark.parametrize("name", VARIANTS)
def test_receptive_fields_have_the_size_and_place_of_their_unit(name):
    found = artists(name)
    pixel = np.ptp(box(found["map-input-0"])[:, 0]) / VARIANTS[name].input.size
    for before, stage in pairwise(["input", *maps(name)]):
        field, plane, front = (box(found[key]) for key in (f"field-{stage}", f"map-{before}-0", f"map-{stage}-0"))
        side, stride = (5, 1) if stage[0] == "c" else (2, 2)
        assert np.ptp(field, axis=0) == pytest.approx(side * pixel)
        assert (field[0] >= plane[0] - 1e-9).all()
        assert (field[1] <= plane[1] + 1e-9).all()
        unit = found[f"unit-{stage}"].get_xydata()[0]
        assert (unit - front[0]) / pixel - 0.5 == pytest.approx((field[0] - plane[0]) / pixel / stride)
        segments = found[f"lines-{stage}"].get_segments()
        assert [tuple(segment[1]) for segment in segments] == [tuple(unit)] * 2
        ends = [field[1], (field[1][0], field[0][1])]  # the corners nearest to the unit
        assert np.allclose([segment[0] for segment in segments], ends)


@pytest.mark.parametrize("name", VARIANTS)
def test_unit_and_receptive_field_within_a_stage_do_not_overlap(name):
    found = artists(name)
    for stage, following in pairwise(maps(name)):
        unit, (low, high) = found[f"unit-{stage}"].get_xydata()[0], box(found[f"field-{following}"])
        assert ((unit < low) | (unit > high)).any()


@pytest.mark.parametrize("name", ["lenet5", "lenet5-1998", "mlp-28-500-150"])
def test_full_connections_lead_from_both_ends_to_one_unit(name):
    found = artists(name)
    for before, row in pairwise([row for row in table(name) if f"units-{row['name']}" in found]):
        first, second = found[f"lines-{row['name']}"].get_segments()
        ends = bar(found[f"units-{before['name']}"])
        assert (first[0][1], second[0]) == (pytest.approx(ends[1][1]), pytest.approx((ends[1][0], ends[0][1])))
        assert bar(found[f"units-{row['name']}"]).mean(axis=0) == pytest.approx(first[1], abs=0.06)
        assert tuple(first[1]) == tuple(second[1])


def test_flattening_an_image_leads_from_a_pixel_to_its_unit_in_reading_order():
    found = artists("mlp")
    image, pixel, vector = box(found["map-input-0"]), box(found["field-flatten"]), bar(found["units-flatten"])
    assert np.ptp(pixel, axis=0) == pytest.approx(np.ptp(image, axis=0) / 32)
    unit = found["unit-flatten"].get_xydata()[0]
    rows_below = (pixel[0] - image[0])[1] / np.ptp(image[:, 1])
    assert (unit - vector[0])[1] / np.ptp(vector[:, 1]) == pytest.approx(rows_below, abs=0.05)
    assert (vector[1] - unit)[0] / np.ptp(vector[:, 0]) == pytest.approx(rows_below, abs=0.08)


def test_bars_grow_with_the_number_of_units_and_short_ones_stay_visible():
    lengths = {}
    for name in ("lenet5", "mlp", "mlp-28-500-150", "many"):
        for key, artist in artists(name).items():
            if key.startswith("units-"):
                row = next(row for row in table(name) if f"units-{row['name']}" == key)
                lengths[int(row["output"])] = np.ptp(bar(artist)[:, 1])
    ordered = [lengths[units] for units in sorted(lengths)]
    assert sorted(lengths) == [10, 59, 84, 120, 150, 500, 784, 1000, 1024, 2000]
    assert all(shorter < longer for shorter, longer in pairwise(ordered))
    assert 3 * lengths[10] < 10 * lengths[59]
    assert lengths[1024] < 4 * lengths[10]


def test_of_more_than_64_maps_the_first_64_are_drawn_and_all_are_counted():
    found = artists("many")
    for stage, count in (("c1", 65), ("c3", 100)):
        assert sum(key.startswith(f"map-{stage}-") for key in found) == 64
        assert f"ellipsis-{stage}" in found
        assert f"\n{count}@" in found[f"label-{stage}"].get_text()


@pytest.mark.parametrize("name", ALL)
def test_texts_are_inside_the_figure_and_overlap_nothing(name):
    found = artists(name)
    figure = found["label-input"].get_figure()
    renderer = FigureCanvasAgg(figure).get_renderer()
    boxes = {
        key: artist.get_window_extent(renderer)
        for key, artist in found.items()
        if key.startswith(("label-", "connection-", "notes-")) and artist.get_text()
    }
    for key, extent in boxes.items():
        assert figure.bbox.containsx(extent.x0), key
        assert figure.bbox.containsx(extent.x1), key
        assert figure.bbox.containsy(extent.y0), key
        assert figure.bbox.containsy(extent.y1), key
    assert [pair for pair in combinations(boxes, 2) if boxes[pair[0]].overlaps(boxes[pair[1]])] == []
    shapes = {key: artist for key, artist in found.items() if not hasattr(artist, "get_text")}
    for key, artist in shapes.items():
        paths = artist.get_paths() if hasattr(artist, "get_paths") else [artist.get_path()]
        for path in paths:
            onto = figure.axes[0].transData.transform_path(path)
            assert [text for text, extent in boxes.items() if onto.intersects_bbox(extent)] == [], key


@pytest.mark.parametrize("name", ALL)
def test_stages_do_not_overlap(name):
    spans: dict[str, list[float]] = {}
    for key, artist in artists(name).items():
        if key.startswith(("map-", "units-")):
            extent = box(artist) if key.startswith("map-") else bar(artist)
            spans.setdefault(key.split("-")[1], []).extend(extent[:, 0])
    assert all(max(left) < min(right) for left, right in pairwise(spans.values()))


@pytest.mark.parametrize(
    ("name", "stage", "connection", "notes"),
    [
        ("lenet5", "c1", "Convolutions", "ReLU"),
        ("lenet5", "s2", "Max-pooling", ""),
        ("lenet5", "c5", "Full connection", "ReLU"),
        ("lenet5", "output", "Full connection", ""),
        ("lenet5-regularized", "c3", "Convolutions", "batch norm, ReLU"),
        ("lenet5-regularized", "f6", "Full connection", "ReLU, dropout"),
        ("lenet5-28-light-dropout", "c5", "Full connection", "ReLU, dropout"),
        ("lenet5-28-light-dropout", "f6", "Full connection", "ReLU"),
        ("lenet5-average", "s4", "Average pooling", ""),
        ("lenet5-tanh", "f6", "Full connection", "tanh"),
        ("lenet5-1998", "s2", "Subsampling", "scaled tanh"),
        ("lenet5-1998", "c3", "Partly connected convolutions", "scaled tanh"),
        ("lenet5-1998", "output", "Gaussian connections", ""),
        ("mlp", "flatten", "Flattening", ""),
        ("mlp", "hidden1", "Full connection", "ReLU"),
    ],
)
def test_connections_and_notes_are_named(name, stage, connection, notes):
    found = artists(name)
    assert found[f"connection-{stage}"].get_text().replace("\n", " ") == connection
    assert found[f"notes-{stage}"].get_text().replace("\n", ", ") == notes


@pytest.mark.parametrize("name", VARIANTS)
def test_names_of_connections_are_between_their_stages(name):
    found = artists(name)
    order = [key.removeprefix("label-") for key in found if key.startswith("label-")]
    for before, stage in pairwise(order):
        x = found[f"connection-{stage}"].get_position()[0]
        assert found[f"label-{before}"].get_position()[0] < x < found[f"label-{stage}"].get_position()[0]


def test_a_layer_of_the_user_is_named_by_its_class():
    own = {**table("lenet5")[1], "name": "own", "kind": "Wavelet"}
    texts = [text.get_text() for text in diagrams.network([*table("lenet5"), own], 32, COLOUR).axes[0].texts]
    assert any("Wavelet" in text for text in texts)


@pytest.mark.parametrize("name", ["lenet5-1998", "mlp", "many"])
def test_fills_are_transparent_and_have_the_colour_of_the_variant(name):
    for key, artist in artists(name).items():
        if key.startswith(("map-", "field-", "units-")):
            fills = np.atleast_2d(artist.get_facecolor())
            assert np.allclose(fills[:, :3], to_rgb(COLOUR)), key
            assert (fills[:, 3] <= 0.5).all(), key
    assert "#ffffff" not in style.svg(network(name), name)


@pytest.mark.parametrize("name", ["lenet5", "lenet5-1998", "many", "deep"])
def test_svg_can_be_embedded_in_a_page(name):
    assert_ids_are_unique_and_resolve(drawing(name), name)
    assert_text_has_page_colour(drawing(name))


@pytest.mark.parametrize("name", ["lenet5-regularized", "lenet5-1998", "mlp"])
def test_equal_networks_have_equal_svg(name):
    assert style.svg(network(name), name) == style.svg(network(name), name)


@pytest.mark.parametrize("name", ["lenet5", "mlp"])
@pytest.mark.parametrize("size", [20, 64, 512])
def test_colour_images_of_any_size_are_three_planes_that_fit(name, size):
    kind = schema.ImageKind(size=size, channels=3, classes=1000)
    form = CATALOGUE[name].input.model_copy(update={"size": size})
    variant = CATALOGUE[name].model_copy(update={"input": form, "images": kind})
    figure = diagrams.network(layer_table.layer_table(variant), size, COLOUR, 3)
    drawn = {artist.get_gid(): artist for artist in figure.axes[0].get_children() if artist.get_gid()}
    assert [key for key in drawn if key.startswith("map-input-")] == [f"map-input-{plane}" for plane in range(3)]
    assert drawn["label-input"].get_text() == f"INPUT\n3@{size}×{size}"
    assert figure.get_figheight() < 4
    shapes = [box(artist) for key, artist in drawn.items() if key.startswith("map-")]
    shapes += [bar(artist) for key, artist in drawn.items() if key.startswith("units-")]
    assert min(shape[0, 1] for shape in shapes) > diagrams.BELOW
