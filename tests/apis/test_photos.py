"""What is learned from a folder of photos: which photos and classes, and for how long."""

import numpy as np
import pytest
import torch
from PIL import Image

from mmseg_wsss.apis import photos
from mmseg_wsss.apis.photos import choose_recipe, read_photos
from mmseg_wsss.datasets.image_labels import ImageLabelError


@pytest.fixture
def folder(tmp_path):
    root = tmp_path / 'photos'
    for name in ('beach/1.jpg', 'beach/2.jpg', 'home.png', 'new.png'):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(root / name)
    return root


@pytest.fixture
def tags(tmp_path):
    file = tmp_path / 'tags.csv'
    file.write_text('file,tags\nbeach/1.jpg,fish;bird\nbeach/2.jpg,fish\nhome.png,\n')
    return file


def test_classes_come_from_the_tags_and_photos_without_tags_are_counted(folder, tags):
    found = read_photos(folder, tags)
    assert found.classes == ('bird', 'fish')
    assert found.names == ['beach/1.jpg', 'beach/2.jpg']
    assert found.counts == {'bird': 1, 'fish': 2}
    assert (found.untagged, found.dropped) == (2, ())  # home.png has an empty entry, new.png none


def test_wanted_classes_in_their_order_and_the_others_dropped(folder, tags):
    assert read_photos(folder, tags, ['fish', 'bird']).classes == ('fish', 'bird')
    found = read_photos(folder, tags, ['bird'])
    assert (found.names, found.dropped, found.untagged) == (['beach/1.jpg'], ('fish',), 3)


def test_tags_of_macos_and_typed_ones_are_one(folder, tags):
    tags.write_text('file,tags\nbeach/1.jpg,Ku\u0308he\nbeach/2.jpg,K\u00fche\n')
    assert read_photos(folder, tags).counts == {'K\u00fche': 2}
    assert read_photos(folder, tags, ['Ku\u0308he']).classes == ('K\u00fche',)


def test_what_is_wrong_is_said_before_anything_starts(folder, tags):
    with pytest.raises(ValueError, match=r"tags.csv: no photo has the tag 'brid'"):
        read_photos(folder, tags, ['brid'])
    tags.write_text(tags.read_text() + 'gone.jpg,fish\nlost.jpg,bird\n')
    with pytest.raises(ImageLabelError) as error:
        read_photos(folder, tags)
    assert list(error.value.problems) == ['listed image that is missing']
    assert [message.split(': ')[1] for message in error.value.problems['listed image that is missing']] == [
        f"'gone' is not in {folder}",
        f"'lost' is not in {folder}",
    ]
    tags.write_text('file,tags\nbeach/1.jpg,fish\n')
    (folder / 'beach/1.jpg').write_bytes((folder / 'beach/1.jpg').read_bytes()[:300])
    with pytest.raises(ImageLabelError, match=r'image that cannot be read \(1\):\n  .*beach/1.jpg: '):
        read_photos(folder, tags)
    tags.write_text('file,tags\nhome.png,\n')
    with pytest.raises(ValueError, match=r'tags.csv: no photo has a tag'):
        read_photos(folder, tags)


@pytest.fixture
def weights(tmp_path):
    def write(width, patch=16):
        state = {
            'cls_token': torch.zeros(1, 1, width),
            'patch_embed.projection.weight': torch.zeros(1, 3, patch, patch),
        }
        torch.save(state, tmp_path / f'{width}.pth')
        return str(tmp_path / f'{width}.pth')

    return write


@pytest.mark.parametrize(
    ('tagged', 'iterations'), [(1, 200), (213, 200), (320, 300), (640, 600), (3139, 600)]
)  # 30 epochs of batches of 32 between 200 and 600
def test_length_on_a_cpu(weights, monkeypatch, tagged, iterations):
    monkeypatch.setattr(photos, '_step_seconds', lambda arch, *, bfloat16: 0.1 if bfloat16 else 0.2)
    recipe = choose_recipe(weights(192), tagged=tagged, photos=tagged)
    assert recipe[:4] == ('deit-tiny', iterations, 2 * iterations, True)


def test_the_faster_number_format_and_the_time_that_follows(weights, monkeypatch):
    monkeypatch.setattr(photos, '_step_seconds', lambda arch, *, bfloat16: 0.5 if bfloat16 else 0.25)
    monkeypatch.setattr(photos, 'usable_cores', lambda: 2)
    recipe = choose_recipe(weights(384), tagged=320, photos=1000)
    assert recipe[:4] == ('deit-small', 300, 600, False)
    images = 300 * 32 * photos._CAM_STEP + 600 * 8 * photos._SEG_STEP + 320 * photos._LABEL + 1000 * photos._MASK
    assert recipe.seconds == pytest.approx(images * 0.25 + 320 * photos._CRF / 2 + photos._STARTS)
    assert recipe.why == '2 CPU cores: 2 images of 224 x 224 per second in bfloat16, 4 in float32'


def test_a_width_that_no_network_has(weights):
    wanted = 'a plain ViT of width 192, 384, 768 with patches of 16 is needed'
    with pytest.raises(ValueError, match=f'64.pth: tokens of width 64, patches of 16 pixels; {wanted}'):
        choose_recipe(weights(64), tagged=1, photos=1)
    with pytest.raises(ValueError, match=f'384.pth: tokens of width 384, patches of 14 pixels; {wanted}'):
        choose_recipe(weights(384, patch=14), tagged=1, photos=1)


def test_a_step_is_really_made():
    assert 0 < photos._step_seconds('deit-tiny', bfloat16=False) < 60
