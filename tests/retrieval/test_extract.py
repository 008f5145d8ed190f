import threading
import time

import numpy as np
import pytest
import torch

from crosslocate.errors import StoreError
from crosslocate.retrieval.extract import extract
from crosslocate.retrieval.extraction_report import ExtractionReport, combined
from crosslocate.retrieval.row_writer import AHEAD
from crosslocate.retrieval.store import DescriptorStore


def batches(inputs, order, size):
    for start in range(0, len(order), size):
        rows = order[start : start + size]
        yield {"images": inputs[rows], "positions": rows}


def test_every_view_lands_in_its_row_without_gradients(tmp_path):
    network = torch.nn.Linear(6, 4)
    inputs = torch.randn(23, 6)
    seen = []

    def encode(images):
        seen.append(torch.is_grad_enabled() or torch.is_inference_mode_enabled() is False)
        return network(images)

    store = DescriptorStore.create(tmp_path / "a", 23, 4)
    assert extract(encode, batches(inputs, torch.randperm(23), 5), store).written == 23
    store.require_complete()
    torch.testing.assert_close(torch.from_numpy(store.descriptors.copy()), network(inputs).detach())
    assert seen == [False] * 5


def test_shards_of_several_processes_fill_one_store(tmp_path):
    inputs = torch.randn(11, 3)
    store = DescriptorStore.create(tmp_path / "a", 11, 3)
    first = extract(lambda x: x, batches(inputs, torch.arange(0, 11, 2), 4), store).written
    assert store.missing().tolist() == [1, 3, 5, 7, 9]
    assert first + extract(lambda x: x, batches(inputs, torch.arange(1, 11, 2), 4), store).written == 11
    store.require_complete()


def test_raw_images_by_modality_and_half_precision_outputs(tmp_path):
    images = {"depth": torch.arange(4.0)[:, None], "silhouettes": torch.ones(4, 1)}
    store = DescriptorStore.create(tmp_path / "a", 4, 1)
    extract(
        lambda raw: (raw["depth"] + raw["silhouettes"]).bfloat16(),
        [{"images": images, "positions": torch.arange(4)}],
        store,
    )
    assert store.descriptors[:, 0].tolist() == [1, 2, 3, 4]


def test_a_diverged_network_is_named_by_row(tmp_path):
    store = DescriptorStore.create(tmp_path / "a", 9, 2)
    inputs = torch.zeros(9, 2)
    inputs[7] = torch.nan
    with pytest.raises(StoreError, match="row 7 is not finite"):
        extract(lambda x: x, batches(inputs, torch.arange(9), 2), store)


def test_whatever_ends_the_loop_what_was_encoded_is_written(tmp_path):
    class Enough(BaseException):
        pass

    def until_enough():
        yield from batches(torch.ones(9, 2), torch.arange(6), 2)
        raise Enough

    store = DescriptorStore.create(tmp_path / "a", 9, 2)
    with pytest.raises(Enough):
        extract(lambda x: x, until_enough(), store)
    assert DescriptorStore.open(tmp_path / "a").missing().tolist() == [6, 7, 8]


def test_writing_goes_on_while_the_next_batch_is_encoded_and_is_never_far_behind(tmp_path, monkeypatch):
    store = DescriptorStore.create(tmp_path / "a", 60, 1)
    encoded, behind = [], []
    write = DescriptorStore.write

    def slow(self, rows, values):
        time.sleep(0.01)
        behind.append(len(encoded) - len(behind))
        write(self, rows, values)

    def encode(images):
        encoded.append(threading.current_thread())
        return images

    monkeypatch.setattr(DescriptorStore, "write", slow)
    report = extract(encode, batches(torch.ones(60, 1), torch.arange(60), 2), store)
    assert set(encoded) == {threading.main_thread()}
    assert 2 < max(behind) <= AHEAD + 2  # those in the queue, the one being written, and the one being handed over
    assert report.writing >= 0.3
    assert report.limit == "writing"


def test_a_write_that_fails_ends_the_extraction_early(tmp_path, monkeypatch):
    store = DescriptorStore.create(tmp_path / "a", 400, 1)
    encoded = []

    def encode(images):
        encoded.append(len(images))
        return images

    def full(self, rows, values):
        raise StoreError("the disk is full")

    monkeypatch.setattr(DescriptorStore, "write", full)
    with pytest.raises(StoreError, match="the disk is full"):
        extract(encode, batches(torch.ones(400, 1), torch.arange(400), 1), store)
    assert len(encoded) < 400


def test_the_report_says_where_the_time_went(tmp_path):
    def slowly(pause):
        for batch in batches(torch.ones(6, 2), torch.arange(6), 2):
            time.sleep(pause)
            yield batch

    def encode(images):
        time.sleep(0.02)
        return images

    store = DescriptorStore.create(tmp_path / "a", 6, 2)
    reading = extract(encode, slowly(0.05), store)
    assert reading.limit == "reading"
    assert 0.15 <= reading.reading < reading.seconds
    assert reading.compute >= 0.06
    assert reading.images_per_second == pytest.approx(6 / reading.seconds)
    assert extract(encode, slowly(0.0), store).limit == "network"
    both = combined([reading, ExtractionReport(4, 100.0, 1.0, 2.0, 3.0, 4.0)])
    assert (both.written, both.seconds, both.limit) == (10, 100.0, "writing")
    assert both.compute == pytest.approx((reading.compute + 3) / 2)
    assert str(both).startswith("10 descriptors in 100.0 s, 0.1 a second; reading ")
    assert both.as_dict()["limit"] == "writing"


def test_nothing_to_extract_is_fine(tmp_path):
    report = extract(lambda x: x, (), DescriptorStore.create(tmp_path / "a", 6, 2))
    assert (report.written, report.images_per_second) == (0, pytest.approx(0.0))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_gives_what_it_gives_batch_after_batch(tmp_path):
    torch.manual_seed(0)
    network = torch.nn.Sequential(torch.nn.Linear(4096, 2048), torch.nn.Tanh(), torch.nn.Linear(2048, 64)).cuda()
    inputs = torch.randn(1000, 4096)

    def pinned():
        for batch in batches(inputs, torch.arange(1000), 64):
            yield {name: tensor.pin_memory() for name, tensor in batch.items()}

    store = DescriptorStore.create(tmp_path / "a", 1000, 64)
    report = extract(network, pinned(), store, device="cuda")
    with torch.inference_mode():
        expected = torch.cat([network(part.cuda()) for part in inputs.split(64)]).cpu().numpy()
    assert np.array_equal(store.descriptors, expected)
    assert report.written == 1000
    assert 0 < report.transfer < report.seconds
    assert 0 < report.compute < report.seconds
