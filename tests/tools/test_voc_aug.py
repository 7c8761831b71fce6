"""VOC 2012 and SBD in their real formats: tar files, .mat and palette PNG; whose mask wins, counts, hostile members."""

import io
import os
import tarfile

import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat
from tool_module import load_tool

from mmseg_wsss.datasets.conversion.voc import decode_sbd, read_sbd, unpack_voc
from mmseg_wsss.datasets.mask_files import write_mask

TRAIN, VAL, TEST = ['2007_000032', '2007_000039'], ['2007_000033'], ['2008_000006']
SBD = {'train': ['2008_000008', '2007_000032'], 'val': ['2008_000002', '2007_000033']}
EXTRA = '2008_000099'  # an image of VOC's detection task
LISTS = 'ImageSets/Segmentation'


@pytest.fixture(scope='module')
def tool():
    return load_tool('dataset_converters/voc_aug.py')


@pytest.fixture
def known(tool, monkeypatch):
    """The counts of the small data set."""
    counts = {'train': 2, 'val': 1, 'test': 1, 'SBD train and val': 4, 'train_aug': 4}
    monkeypatch.setattr(tool, 'KNOWN', counts)
    return counts


def png(ids):
    """A mask as VOC has it."""
    image = Image.fromarray(np.array(ids, np.uint8))
    image.putpalette([7, 7, 7] + [5] * 765)  # told from the palette of a mask that was drawn
    data = io.BytesIO()
    image.save(data, format='PNG')
    return data.getvalue()


def jpg():
    data = io.BytesIO()
    Image.new('RGB', (3, 2)).save(data, format='JPEG')
    return data.getvalue()


def mat(ids):
    """A mask as SBD has it: a struct with the boundaries beside the segmentation."""
    ids = np.array(ids, np.uint8)
    boundaries = np.empty((20, 1), object)
    for k in range(20):
        boundaries[k, 0] = np.zeros(ids.shape, bool)
    data = io.BytesIO()
    present = np.setdiff1d(ids, [0])[:, None]
    content = {'Boundaries': boundaries, 'Segmentation': ids, 'CategoriesPresent': present}
    savemat(data, {'GTcls': content}, do_compression=True)
    return data.getvalue()


def sbd_ids(name):
    return [[0, int(name[-2:]) % 21, 20], [15, 0, 1]]


def pack(path, files, mode='w'):
    with tarfile.open(path, mode) as tar:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return path


def voc_files():
    files = {}
    for name in (*TRAIN, *VAL, *SBD['train'], *SBD['val'], EXTRA):
        files[f'JPEGImages/{name}.jpg'] = jpg()
        files[f'Annotations/{name}.xml'] = b'<annotation><object><name>cat</name></object></annotation>'
    for name in (*TRAIN, *VAL):
        files[f'SegmentationClass/{name}.png'] = png([[0, 2, 255], [3, 3, 0]])
    files[f'{LISTS}/train.txt'] = '\n'.join(TRAIN).encode()
    files[f'{LISTS}/val.txt'] = '\n'.join(VAL).encode() + b'\n'
    return {f'VOCdevkit/VOC2012/{name}': data for name, data in files.items()}


def files_of_test():
    files = {f'JPEGImages/{TEST[0]}.jpg': jpg(), f'{LISTS}/test.txt': TEST[0].encode()}
    return {f'./VOCdevkit/VOC2012/{name}': data for name, data in files.items()}


def sbd_files():
    names = [*SBD['train'], *SBD['val']]
    files = {f'cls/{name}.mat': mat(sbd_ids(name)) for name in names}
    files |= {f'inst/{name}.mat': b'not read' for name in names}
    files |= {f'{split}.txt': '\n'.join(names).encode() for split, names in SBD.items()}
    files['cls/._2008_000008.mat'] = b'of macOS'
    return {f'benchmark_RELEASE/dataset/{name}': data for name, data in files.items()}


@pytest.fixture
def tars(tmp_path):
    return {
        'trainval': pack(tmp_path / 'VOCtrainval_11-May-2012.tar', voc_files()),
        'test': pack(tmp_path / 'VOC2012test.tar', files_of_test()),
        'sbd': pack(tmp_path / 'benchmark.tgz', sbd_files(), 'w:gz'),
    }


def run(tool, root, tars, *, voc=('trainval', 'test'), sbd=None):
    options = ['--voc', *(str(tars[name]) for name in voc)] if voc else []
    return tool.main([str(root), '--sbd', str(sbd or tars['sbd']), '--workers', '0', *options])


def ids(path):
    return np.array(Image.open(path)).tolist()


def test_from_the_tar_files_to_masks_and_list(tool, known, tars, tmp_path, capsys):
    root = tmp_path / 'VOC2012'
    assert run(tool, root, tars) == 0
    assert (root / LISTS / 'train_aug.txt').read_text().split() == [
        '2007_000032',
        '2007_000039',
        '2008_000002',
        '2008_000008',
    ]
    masks = root / 'SegmentationClassAug'
    assert sorted(path.stem for path in masks.iterdir()) == sorted({*TRAIN, *VAL, *SBD['train'], *SBD['val']})
    for name in (*TRAIN, *VAL):  # 2007_000032 and 2007_000033 are in SBD as well
        assert (masks / f'{name}.png').read_bytes() == (root / 'SegmentationClass' / f'{name}.png').read_bytes()
    assert ids(masks / '2008_000008.png') == [[0, 8, 20], [15, 0, 1]]
    drawn = Image.open(masks / '2008_000002.png')
    assert np.array(drawn).tolist() == [[0, 2, 20], [15, 0, 1]]
    assert drawn.mode == 'P'
    assert drawn.getpalette()[:9] == [0, 0, 0, 128, 0, 0, 0, 128, 0]
    assert (root / 'Annotations' / f'{EXTRA}.xml').is_file()
    assert (root / LISTS / 'test.txt').is_file()
    assert list(root.rglob('.*')) == [root / '.lock']
    out = capsys.readouterr().out
    assert f'{masks}: 3 official masks and 2 of SBD written' in out


def test_an_unpacked_sbd_gives_the_same_and_complete_files_are_left(tool, known, tars, tmp_path, capsys):
    root = tmp_path / 'VOC2012'
    with tarfile.open(tars['sbd']) as tar:
        tar.extractall(tmp_path, filter='data')
    assert run(tool, root, tars, sbd=tmp_path / 'benchmark_RELEASE') == 0
    masks = root / 'SegmentationClassAug'
    content = {path: path.read_bytes() for path in root.rglob('*') if path.is_file()}
    times = {path: path.stat().st_mtime_ns for path in content}
    cut, kept, official = (masks / f'{name}.png' for name in ('2008_000002', '2008_000008', '2007_000033'))
    cut.write_bytes(content[cut][:-15])
    official.write_bytes(content[kept])  # a mask of SBD where the official one belongs
    image = root / 'JPEGImages' / '2007_000039.jpg'
    image.write_bytes(content[image][:50])
    (masks / '.2008_000002.part-4711.png').write_bytes(b'half')  # of a run that was killed
    capsys.readouterr()
    assert run(tool, root, tars, sbd=tmp_path) == 0
    out = capsys.readouterr().out
    assert f'{tars["trainval"]}: 1 files unpacked' in out
    assert '1 official masks and 1 of SBD written' in out
    assert {path: path.read_bytes() for path in root.rglob('*') if path.is_file()} == content
    assert kept.stat().st_mtime_ns == times[kept]


def failure(tool, root, tars, capsys, **options):
    assert run(tool, root, tars, **options) == 1
    assert not (root / LISTS / 'train_aug.txt').exists()
    return capsys.readouterr().err


def test_counts_are_those_that_are_known(tool, tars, tmp_path, capsys):
    error = failure(tool, tmp_path / 'VOC2012', tars, capsys)
    for text in (
        'train has 2 images and should have 1,464',
        'val has 1 images and should have 1,449',
        'test has 1 images and should have 1,456',
        'SBD train and val has 4 images and should have 11,355',
        'train_aug has 4 images and should have 10,582',
        'download and unpack the whole of VOC 2012 and SBD again',
    ):
        assert text in error


def test_everything_wrong_is_named_at_once(tool, known, tars, tmp_path, capsys):
    files = voc_files()
    del files['VOCdevkit/VOC2012/JPEGImages/2008_000008.jpg']
    del files['VOCdevkit/VOC2012/SegmentationClass/2007_000039.png']
    tars['trainval'] = pack(tmp_path / 'less.tar', files)
    files = sbd_files()
    files['benchmark_RELEASE/dataset/cls/2008_000002.mat'] = b'no mat'
    files['benchmark_RELEASE/dataset/cls/2008_000008.mat'] = mat([[21, 0, 0]])
    tars['sbd'] = pack(tmp_path / 'less.tgz', files, 'w:gz')
    root = tmp_path / 'VOC2012'
    error = failure(tool, root, tars, capsys)
    assert f'{root}/SegmentationClass/2007_000039.png: missing, damaged, or not a palette PNG' in error
    assert f'{tars["sbd"]}:benchmark_RELEASE/dataset/cls/2008_000002.mat: not a mask of SBD' in error
    assert 'cls/2008_000008.mat: has the ids [21], SBD has 0..20' in error
    assert f'{root}/JPEGImages/2008_000008.jpg' in error
    assert f'{root}/SegmentationClassAug/2008_000002.png' in error


def test_lists_and_archives_that_are_none(tool, known, tars, tmp_path, capsys):
    root = tmp_path / 'VOC2012'
    assert f'{root}/{LISTS}/train.txt: no such list' in failure(tool, root, tars, capsys, voc=())
    assert f'{tars["sbd"]}: has no file below VOCdevkit/VOC2012' in failure(
        tool, root, {**tars, 'trainval': tars['sbd']}, capsys
    )
    cut = tmp_path / 'cut.tgz'
    cut.write_bytes(tars['sbd'].read_bytes()[:-200])
    assert f'{cut}: not a complete tar file' in failure(tool, root, tars, capsys, sbd=cut)
    assert 'no dataset/train.txt in it, so it is not the whole of SBD' in failure(
        tool, root, tars, capsys, sbd=tars['test']
    )
    assert 'No such file' in failure(tool, root, tars, capsys, sbd=tmp_path / 'gone.tgz')
    (root / LISTS / 'val.txt').write_text('../../x\n')
    assert "val.txt: '../../x' is not an image id of VOC" in failure(tool, root, tars, capsys, voc=())


def test_members_never_leave_the_root(tmp_path):
    root = tmp_path / 'deep' / 'VOC2012'
    for name in ('VOCdevkit/VOC2012/../../x.txt', '/VOCdevkit/VOC2012/x.txt', '../x.txt'):
        with pytest.raises(ValueError, match='leaves the folder'):
            unpack_voc(pack(tmp_path / 'bad.tar', {name: b'x'}), root)
    with tarfile.open(tmp_path / 'link.tar', 'w') as tar:
        member = tarfile.TarInfo('VOCdevkit/VOC2012/JPEGImages')
        member.type, member.linkname = tarfile.SYMTYPE, '/tmp'
        tar.addfile(member)
    with pytest.raises(ValueError, match=r'link\.tar: the member .* is a link'):
        unpack_voc(tmp_path / 'link.tar', root)
    assert {path.name for path in tmp_path.iterdir()} == {'bad.tar', 'link.tar'}
    hostile = pack(tmp_path / 'sbd.tar', {'../../dataset/cls/x.mat': b''})
    with pytest.raises(ValueError, match="'x' is not an image id of VOC"):
        list(read_sbd(hostile, {}))


IMAGE = f'VOCdevkit/VOC2012/JPEGImages/{TRAIN[0]}.jpg'
MAT = 'benchmark_RELEASE/dataset/cls/2008_000008.mat'
MIB = 1 << 20


def tar_of_headers(path, sizes):
    """A tar file of members without content: holes, which take no place on the disk."""
    with path.open('wb') as file:
        for name, size in sizes.items():
            member = tarfile.TarInfo(name)
            member.size = size
            file.write(member.tobuf())
            file.seek(size, 1)
        file.truncate(file.tell() + 1024)
    return path


def sparse(path, name, *, pax):
    """A tar file of 10 KB whose member becomes a file of 1 TB."""
    with tarfile.open(path, 'w', format=tarfile.PAX_FORMAT if pax else tarfile.GNU_FORMAT) as tar:
        member = tarfile.TarInfo(name)
        if pax:
            member.pax_headers = {'GNU.sparse.map': '0,1', 'GNU.sparse.size': str(1 << 40)}
            member.size = 1
            tar.addfile(member, io.BytesIO(b'x'))
        else:
            member.type = tarfile.GNUTYPE_SPARSE
            tar.addfile(member)
    if not pax:
        data = bytearray(path.read_bytes())
        data[386:398] = b'00000000000\0'  # the first block of content: at 0, of 0 bytes
        data[398:410] = b'00000000000\0'
        data[483:495] = b'\x80' + (1 << 40).to_bytes(11, 'big')
        data[148:156] = b' ' * 8
        data[148:156] = b'%06o\0 ' % sum(data[:512])
        path.write_bytes(data)
    return path


@pytest.mark.parametrize('pax', [True, False])
def test_a_sparse_member_is_refused(tmp_path, pax):
    tar = sparse(tmp_path / 'bad.tar', IMAGE, pax=pax)
    with tarfile.open(tar) as archive:
        assert archive.getmember(IMAGE).size == 1 << 40
    with pytest.raises(ValueError, match='is sparse') as error:
        unpack_voc(tar, tmp_path / 'root')
    assert str(error.value) == f'{tar}: the member {IMAGE!r} is sparse: no file of VOC 2012 or SBD'
    assert [path.name for path in tmp_path.iterdir()] == ['bad.tar']
    with pytest.raises(ValueError, match=rf"bad\.tar: the member '{MAT}' is sparse: no file of VOC 2012 or SBD"):
        list(read_sbd(sparse(tar, MAT, pax=pax), {}))


def test_a_member_larger_than_any_of_voc_is_refused(tmp_path):
    tar = tar_of_headers(tmp_path / 'bad.tar', {IMAGE: 16 * MIB})
    assert unpack_voc(tar, tmp_path) == 1
    assert (tmp_path / 'JPEGImages' / f'{TRAIN[0]}.jpg').stat().st_size == 16 * MIB
    text = 'has 16,777,217 bytes, more than 16,777,216: no file of VOC 2012 or SBD'
    with pytest.raises(ValueError, match='bytes') as error:
        unpack_voc(tar_of_headers(tar, {IMAGE: 16 * MIB + 1}), tmp_path)
    assert str(error.value) == f'{tar}: the member {IMAGE!r} {text}'
    with pytest.raises(ValueError, match='bytes') as error:
        list(read_sbd(tar_of_headers(tar, {MAT: 16 * MIB + 1}), {}))
    assert str(error.value) == f'{tar}: the member {MAT!r} {text}'


def test_a_tar_file_of_more_than_voc_is_refused(tmp_path):
    names = [f'VOCdevkit/VOC2012/JPEGImages/2007_{number:06}.jpg' for number in range(257)]
    for name in names[:256]:  # complete files are kept, so that the test writes nothing
        path = tmp_path / 'JPEGImages' / name.rsplit('/', 1)[1]
        path.parent.mkdir(exist_ok=True)
        path.touch()
        os.truncate(path, 16 * MIB)
    sizes = dict.fromkeys(names[:256], 16 * MIB)
    tar = tar_of_headers(tmp_path / 'bad.tar', sizes)
    assert unpack_voc(tar, tmp_path) == 0
    with pytest.raises(ValueError, match='bytes') as error:
        unpack_voc(tar_of_headers(tar, {**sizes, names[256]: 1}), tmp_path)
    assert str(error.value) == f'{tar}: more than 4,294,967,296 bytes with {names[256]!r}: no tar file of VOC 2012'


def test_an_empty_mask_of_sbd_is_named(tmp_path):
    tar = pack(tmp_path / 'sbd.tar', {MAT: b'', **{f'dataset/{split}.txt': b'' for split in SBD}})
    ((name, where, data),) = read_sbd(tar, {})
    assert (name, where, data) == ('2008_000008', f'{tar}:{MAT}', b'')


def test_the_segmentation_of_a_mat_file():
    values = np.random.default_rng(0).integers(0, 21, (7, 5))
    assert np.array_equal(decode_sbd(mat(values), 'x.mat'), values)
    data = io.BytesIO()
    savemat(data, {'GTinst': {'Segmentation': values}})
    with pytest.raises(ValueError, match=r"x\.mat: not a mask of SBD .*KeyError\('GTcls'\)"):
        decode_sbd(data.getvalue(), 'x.mat')
    data = io.BytesIO()
    savemat(data, {'GTcls': {'Segmentation': np.zeros((2, 2, 2))}})
    with pytest.raises(ValueError, match=r'should be numbers \(H, W\), and is float64 \(2, 2, 2\)'):
        decode_sbd(data.getvalue(), 'x.mat')


def test_several_processes(tool, known, tars, tmp_path):
    """Through real workers; what they write is the same as above."""
    root = tmp_path / 'VOC2012'
    (root / 'SegmentationClassAug').mkdir(parents=True)
    write_mask(root / 'SegmentationClassAug' / '2008_000002.png', np.array([[9]]))  # there already
    arguments = ['--sbd', str(tars['sbd']), '--voc', str(tars['trainval']), '--workers', '2']
    assert tool.main([str(root), *arguments]) == 0
    assert ids(root / 'SegmentationClassAug' / '2008_000008.png') == [[0, 8, 20], [15, 0, 1]]
    assert ids(root / 'SegmentationClassAug' / '2008_000002.png') == [[9]]
