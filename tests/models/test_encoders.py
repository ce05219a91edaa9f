"""From contents to what models read, against transformers' own processors, and contents that do not suit."""

from __future__ import annotations

import io
import json
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image
from texts_for_tests import save_tokenizer
from transformers.models.imagegpt.image_processing_pil_imagegpt import ImageGPTImageProcessorPil
from transformers.models.vit.image_processing_pil_vit import ViTImageProcessorPil

from hpcgeom.errors import InputError, ProblemsError
from hpcgeom.models import InputSettings, ModelRequest, encoder_of

IGPT = {"model_type": "imagegpt", "n_layer": 1, "n_embd": 8, "n_head": 2, "n_positions": 64, "vocab_size": 17}
VIT = {"model_type": "vit", "hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2,
       "intermediate_size": 8, "image_size": 32, "patch_size": 16}  # fmt: skip
GPT2 = {"model_type": "gpt2", "n_layer": 1, "n_embd": 8, "n_head": 2, "n_positions": 6, "vocab_size": 30}
IMAGES = InputSettings("images")


def request(config, folder=None, **more) -> ModelRequest:
    family = {"imagegpt": "igpt"}.get(config["model_type"], config["model_type"])
    return ModelRequest("mine", family, folder, "float32", (), config=config, weights="random", **more)


def picture(seed=0, size=(40, 50)) -> tuple[bytes, np.ndarray]:
    pixels = np.random.default_rng(seed).integers(0, 256, (*size, 3), dtype=np.uint8)
    raw = io.BytesIO()
    Image.fromarray(pixels).save(raw, "png")
    return raw.getvalue(), pixels


@pytest.fixture
def palette(tmp_path):
    """16 colors, as a file of their own."""
    colors = np.random.default_rng(1).uniform(-1, 1, (16, 3)).astype(np.float32)
    np.save(tmp_path / "centers.npy", colors)
    return tmp_path / "centers.npy", colors


@pytest.mark.parametrize("has_preprocessor", [False, True])
def test_colors_of_transformers_pipeline_are_those_of_its_processor(palette, tmp_path, has_preprocessor):
    file, colors = palette
    raw, pixels = picture()
    asked = request(IGPT, image_pipeline="huggingface", clusters=file)
    if has_preprocessor:  # as the published ones are written
        settings = {"size": 8, "resample": 2, "clusters": colors.tolist(), "do_color_quantize": True}
        (tmp_path / "preprocessor_config.json").write_text(json.dumps(settings))
        asked = replace(asked, folder=tmp_path)
    ((found,),) = encoder_of(asked, IMAGES).encode(["a"], [raw])
    processor = ImageGPTImageProcessorPil(clusters=colors, size={"height": 8, "width": 8})
    expected = processor(pixels, return_tensors="np", input_data_format="channels_last")["input_ids"][0]
    assert found.ids.tolist() == expected.tolist()
    assert not found.special.any()


@pytest.mark.parametrize("is_bert", [False, True])
def test_the_papers_pipeline_starts_with_a_token_unless_trained_as_bert(palette, is_bert):
    asked = request({**IGPT, "bert": is_bert}, clusters=palette[0])
    encoder = encoder_of(asked, IMAGES)
    ((found,),) = encoder.encode(["a"], [picture()[0]])
    assert (encoder.n_tokens, len(found.ids)) == (64, 64)
    assert found.special.tolist() == [not is_bert, *[False] * 63]
    assert (found.ids[0] == 16) is np.bool_(not is_bert)
    assert found.ids[1:].max() < 16
    rows = encoder_of(asked, InputSettings("tokens")).encode(["a"], [np.arange(64) % 16])
    assert rows[0][0].ids.tolist() == ([*range(16)] * 4 if is_bert else [16, *([*range(16)] * 4)[:-1]])


def test_pixels_are_those_of_transformers_processor(tmp_path):
    settings = {
        "size": {"height": 32, "width": 32},
        "image_mean": [0.1, 0.2, 0.3],
        "image_processor_type": "x",
    }
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(settings))
    raw, pixels = picture()
    ((found,),) = encoder_of(request(VIT, tmp_path), IMAGES).encode(["a"], [raw])
    processor = ViTImageProcessorPil(size={"height": 32, "width": 32}, image_mean=[0.1, 0.2, 0.3])
    expected = processor(pixels, return_tensors="np", input_data_format="channels_last")["pixel_values"][0]
    np.testing.assert_array_equal(found.pixels, expected)
    assert (found.ids.tolist(), found.special.tolist()) == ([0] * 5, [True, *[False] * 4])


def test_an_untrained_model_without_a_preprocessor_reads_images_of_its_own_size():
    ((found,),) = encoder_of(request(VIT), IMAGES).encode(["a"], [picture()[0]])
    assert found.pixels.shape == (3, 32, 32)


def test_a_palette_that_is_missing_or_of_another_model_is_refused(palette, tmp_path):
    with pytest.raises(
        InputError, match=r"'mine' has no palette: expected kmeans_centers.npy or .*`clusters`"
    ):
        encoder_of(request(IGPT), IMAGES)
    with pytest.raises(InputError, match=r"centers\.npy"):
        encoder_of(request({**IGPT, "vocab_size": 513}, clusters=palette[0]), IMAGES)


def test_a_preprocessor_of_another_size_is_refused(palette, tmp_path):
    (tmp_path / "preprocessor_config.json").write_text(json.dumps({"size": {"height": 48, "width": 48}}))
    asked = request(IGPT, tmp_path, image_pipeline="huggingface", clusters=palette[0])
    with pytest.raises(
        InputError, match=r"of 48 x 48, but model 'mine' has 8 x 8 .* another model: fetch that of this"
    ):
        encoder_of(asked, IMAGES)
    with pytest.raises(
        InputError,
        match=r"images of shape \(3, 48, 48\), but .*'mine' reads \(3, 32, 32\): it .* fetch that of this",
    ):
        encoder_of(request(VIT, tmp_path), IMAGES)
    with pytest.raises(InputError, match=r"there is no preprocessor_config\.json"):
        encoder_of(replace(request(VIT, tmp_path / "no"), weights=None), IMAGES)


def test_positions_that_are_no_square_are_refused(palette):
    with pytest.raises(InputError, match="'mine' has 65 positions, which are not the pixels of a square"):
        encoder_of(request({**IGPT, "n_positions": 65}, clusters=palette[0]), IMAGES)


def test_rows_of_another_model_are_named():
    encoder = encoder_of(request(GPT2), InputSettings("tokens"))
    rows = [np.arange(4), np.array([3, 30]), np.arange(7)]
    with pytest.raises(ProblemsError) as caught:
        encoder.encode(["good", "foreign", "long"], rows)
    foreign, long = caught.value.problems
    assert foreign == (
        "1 samples have token ids that model 'mine' does not know (0 to 29): 'foreign' (30): they were "
        "encoded "
        "for another model: encode them for this one"
    )
    assert long.startswith("1 samples are longer than the 6 positions of model 'mine': 'long' (7)")
    ((found,),) = encoder.encode(["good"], rows[:1])
    assert (found.ids.tolist(), found.special.any()) == ([0, 1, 2, 3], np.False_)


def test_texts_need_a_tokenizer_and_windows_count_residues_without_special_tokens(tmp_path):
    with pytest.raises(InputError, match="'mine' has no tokenizer: name its folder with `tokenizer`"):
        encoder_of(request(GPT2), InputSettings("text"))
    save_tokenizer(tmp_path)
    config = {**GPT2, "n_positions": 64, "vocab_size": 64}
    encoder = encoder_of(request(config, tokenizer=tmp_path), InputSettings("fasta", 2, "window"))
    ((first, second),) = encoder.encode(["x"], ["the cat sees"])
    assert (first.n_ordinary, second.n_ordinary, len(first.ids)) == (2, 1, 4)
