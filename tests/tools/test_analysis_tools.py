"""mmseg's tools for looking at a config, a data set and a network, for configs of this package."""

import re

import numpy as np
import pytest
from mmengine.config import Config
from tool_module import load_tool
from toy_runs import stage1_config, stage2_config, toco_config

from mmseg_wsss.visualization import sample_page


@pytest.fixture
def shown(monkeypatch):
    """report.py, and the arguments and drawing of every training sample that it shows."""
    tool, pages = load_tool('analysis_tools/report.py'), []

    def recorded(inputs, sample, **metainfo):
        pages.append((inputs, sample, metainfo, sample_page(inputs, sample, **metainfo)))
        return pages[-1][-1]

    monkeypatch.setattr(tool, 'sample_page', recorded)
    return tool, pages


def written(config: Config, folder) -> str:
    config.dump(folder / 'toy.py')
    return str(folder / 'toy.py')


def test_a_config_alone_shows_all_views_the_tags_and_the_valid_box(shown, tmp_path, monkeypatch, capsys):
    tool, pages = shown
    monkeypatch.chdir(tmp_path)
    tool.main([written(toco_config(tmp_path), tmp_path), '--samples', '3'])
    assert re.fullmatch(r'0 images, \d+ KiB: toy\.html', capsys.readouterr().out.splitlines()[-1])
    text = (tmp_path / 'toy.html').read_text()
    assert text.count('class="sample"') == 3
    assert 'toy.py: no checkpoint' in text
    assert [sample.img_path[-5:] for _, sample, *_ in pages] == ['0.png', '4.png', '7.png']
    for inputs, sample, metainfo, page in pages:
        assert [axis.get_title() for axis in page.axes] == ['img', 'global_view', 'local_view']
        tags = [metainfo['classes'][k + 1] for k in sample.gt_label.tolist()]
        assert page.get_suptitle() == f'{sample.img_path}: {", ".join(tags)}'
        for axis in page.axes:
            drawn = axis.images[0].get_array()
            np.testing.assert_array_equal(drawn, inputs[axis.get_title()].flip(0).permute(1, 2, 0).numpy())
        [box] = page.axes[0].patches
        top, bottom, left, right = sample.valid_box
        assert box.get_bbox().extents.tolist() == [left - 0.5, top - 0.5, right - 0.5, bottom - 0.5]
        assert not page.axes[1].patches
    assert {len(sample.gt_label) for _, sample, *_ in pages} == {1, 2}


def test_a_config_alone_shows_masks_of_a_second_stage(shown, tmp_path):
    tool, pages = shown
    tool.main([written(stage2_config(tmp_path), tmp_path), '--out', str(tmp_path / 'page.html'), '--samples', '1'])
    [(_, sample, metainfo, page)] = pages
    assert [axis.get_title() for axis in page.axes] == ['img', 'mask']
    where = sample.gt_sem_seg.data[0].numpy() > 0
    colour = np.array(metainfo['palette'])[sample.gt_sem_seg.data[0].numpy()[where]]
    image, drawn = (axis.images[0].get_array()[where] for axis in page.axes)
    np.testing.assert_array_equal(drawn, np.round(0.4 * image + 0.6 * colour).astype(np.uint8))


def test_print_config_shows_what_inheritance_and_options_leave(tmp_path, capsys):
    (tmp_path / 'mine.py').write_text("_base_ = 'mmseg_wsss::toco/toco_vit-demo_drawn-scenes.py'\n")
    load_tool('misc/print_config.py').main([str(tmp_path / 'mine.py'), '--cfg-options', 'train_cfg.max_iters=7'])
    (tmp_path / 'printed.py').write_text(capsys.readouterr().out)
    printed = Config.fromfile(tmp_path / 'printed.py')
    assert (printed.model.backbone.arch.embed_dims, printed.train_cfg.max_iters) == (96, 7)


def multiplications(*, tokens: int) -> int:
    """Of the toy backbone by hand: 64 patches of 3 * 8 * 8 values, three blocks of width 24, two heads, FFN of 48."""
    linear = tokens * 24 * (72 + 24 + 2 * 48)
    return 64 * 24 * 3 * 8 * 8 + 3 * (linear + 2 * 2 * tokens * tokens * 12)


def test_get_flops_counts_attention_and_decoder(tmp_path, capsys):
    config = toco_config(tmp_path)
    load_tool('analysis_tools/get_flops.py').main([written(config, tmp_path), '--shape', '64', '64'])
    decoder = 64 * 24 * 16 * 9 + 64 * 16 * 4  # a 3x3 convolution, then the classes
    flops = 2 * (multiplications(tokens=65) + decoder)
    assert capsys.readouterr().out.splitlines()[-1].startswith(f'64 x 64 pixels: {flops / 1e9:.6g} GFLOPs, ')
    assert flops == 4_054_304


def test_get_flops_of_a_first_stage(tmp_path, capsys):
    load_tool('analysis_tools/get_flops.py').main([written(stage1_config(tmp_path), tmp_path), '--shape', '64', '64'])
    line = capsys.readouterr().out.splitlines()[-1]
    backbone = 2 * multiplications(tokens=67) / 1e9
    assert line.startswith('64 x 64 pixels: ')
    assert backbone < float(line.split()[4]) < 1.5 * backbone
