import pytest
import torch

from crosslocate.errors import StoreError
from crosslocate.retrieval.extract import extract
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
