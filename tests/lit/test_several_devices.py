"""Processes that share every batch learn what one process learns from the whole of it, and find what one finds.

`sharing_run.py FOLDER DATASET UNEVEN RANKS` runs once for each number of processes, and does all of it.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import ranks_run
import sharing_run
import torch
from running import call, finish, overrides, start

from crosslocate import train
from crosslocate.lit.csv import read_log

RANKS = (2, 3)
PIPES = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}


def command(*arguments):
    return [sys.executable, sharing_run.__file__, *map(str, arguments)]


@pytest.fixture(scope="module")
def outcomes(tiny_dataset, tmp_path_factory):
    """What every process of 1, 2 and 3 found, by number of processes and case."""
    uneven = ranks_run.write_uneven(tiny_dataset, tmp_path_factory.mktemp("uneven"))
    folders = {ranks: tmp_path_factory.mktemp(f"ranks_{ranks}") for ranks in RANKS}
    tests = Path(sharing_run.__file__).parents[1]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": f"{tests}{os.pathsep}{tests.parent}"}
    processes = [
        subprocess.Popen(command(folder, tiny_dataset, uneven, ranks), env=environment, text=True, **PIPES)
        for ranks, folder in folders.items()
    ]
    alone = tmp_path_factory.mktemp("alone")
    one = {case: [sharing_run.train(case, alone, tiny_dataset, 1)] for case in sharing_run.CASES}
    one["together"] = [ranks_run.measure(alone, uneven, 1)]
    for process in processes:
        output, _ = process.communicate(timeout=240)
        assert process.returncode == 0, output[-5000:]
    cases = [*sharing_run.CASES, "together"]
    return {1: one} | {
        ranks: {
            case: [torch.load(folder / f"{case}_{rank}.pt", weights_only=False) for rank in range(ranks)]
            for case in cases
        }
        for ranks, folder in folders.items()
    }


def length(tensor):
    return float(torch.linalg.vector_norm(tensor))


@pytest.mark.parametrize("ranks", RANKS)
@pytest.mark.parametrize("case", ["triplet", "infonce"])
def test_gradients_losses_and_weights_are_those_of_one_process(outcomes, ranks, case):
    (one,) = outcomes[1][case]
    assert len(one["losses"]) == 4
    assert one["losses"][-1] == 0.0  # the empty batch
    assert len(one["gradients"]) == 3
    assert all(any(gradient.abs().max() > 0 for gradient in step.values()) for step in one["gradients"])
    for found in outcomes[ranks][case]:
        assert found["losses"] == pytest.approx(one["losses"], rel=1e-5)
        for expected, step in zip(one["gradients"], found["gradients"], strict=True):
            whole = length(torch.cat([gradient.flatten() for gradient in expected.values()]))
            for name, gradient in expected.items():
                assert length(step[name] - gradient) <= 1e-5 * max(length(gradient), 0.01 * whole), name
        torch.testing.assert_close(found["weights"], one["weights"], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("ranks", RANKS)
@pytest.mark.parametrize("case", sharing_run.CASES)
def test_processes_end_with_the_same_network_to_the_last_bit(outcomes, ranks, case):
    first, *others = (found["weights"] for found in outcomes[ranks][case])
    assert any("running_mean" in name for name in first) == (case == "batch_norm")
    for other in others:
        assert all(torch.equal(tensor, other[name]) for name, tensor in first.items())


@pytest.mark.parametrize("ranks", [1, *RANKS])
def test_the_learning_rate_follows_its_rule(outcomes, ranks):
    assert outcomes[ranks]["batch_norm"][0]["lr"] == pytest.approx(0.001 * ranks**0.5)
    assert outcomes[ranks]["triplet"][0]["lr"] == 0.001


@pytest.mark.parametrize("ranks", RANKS)
@pytest.mark.parametrize("case", ranks_run.MINING)
def test_every_process_mines_the_plans_of_one(outcomes, ranks, case):
    (one,) = outcomes[1]["together"]
    assert [plan.shape for plan in one[case]["plans"]] == [(6, 5), (4, 5)] * 2
    assert len({plan.tobytes() for plan in one[case]["plans"]}) == 4
    for found in outcomes[ranks]["together"]:
        for plan, expected in zip(found[case]["plans"], one[case]["plans"], strict=True):
            np.testing.assert_array_equal(plan, expected)
        assert found[case]["figures"] == one[case]["figures"]


@pytest.mark.parametrize("ranks", RANKS)
def test_every_process_has_the_recalls_of_one(outcomes, ranks):
    (one,) = outcomes[1]["together"]
    matches = one["full"]["matches"]["val"]
    assert len({tuple(row) for row in matches["neighbours"].tolist()}) > 2, "queries find different views"
    for found in outcomes[ranks]["together"]:
        assert found["full"]["results"] == one["full"]["results"]
        for name, values in found["full"]["matches"]["val"].items():
            np.testing.assert_array_equal(values, matches[name], err_msg=name)


@pytest.mark.parametrize("ranks", RANKS)
def test_every_process_has_the_recalls_that_one_measures_by_an_index(outcomes, ranks):
    (one,) = outcomes[1]["together"]
    expected, exact = one["recalls"]["approximate"], one["recalls"]["exact"]
    assert not np.array_equal(expected["matches"]["neighbours"], exact["matches"]["neighbours"]), "it loses some"
    figures = {name: value for name, value in expected["results"].items() if name != "search"}
    for found in outcomes[ranks]["together"]:
        results = found["recalls"]["approximate"]["results"]
        assert {name: value for name, value in results.items() if name != "search"} == figures
        assert results["search"]["found"] == expected["results"]["search"]["found"]
        for name, values in found["recalls"]["approximate"]["matches"].items():
            np.testing.assert_array_equal(values, expected["matches"][name], err_msg=name)


@pytest.mark.parametrize("ranks", RANKS)
def test_every_process_fills_its_part_of_one_store(outcomes, ranks):
    (one,), several = outcomes[1]["together"], outcomes[ranks]["together"]
    assert [found["store"]["own"] for found in several] == [
        len(range(rank, ranks_run.ROWS, ranks)) for rank in range(ranks)
    ]
    for found in several:
        assert found["store"]["digest"] == one["store"]["digest"]
        np.testing.assert_array_equal(found["store"]["values"], one["store"]["values"])


@pytest.mark.parametrize("ranks", RANKS)
@pytest.mark.parametrize("kind", ["exact", "approximate"])
def test_processes_find_the_neighbours_that_one_finds(outcomes, ranks, kind):
    (one,), several = outcomes[1]["together"], outcomes[ranks]["together"]
    expected, exact = one["searched"][kind], one["searched"]["exact"]
    assert np.array_equal(expected["rows"], exact["rows"]) == (kind == "exact"), "an index loses some"
    for rank, found in enumerate(several):
        for name, values in expected.items():
            np.testing.assert_array_equal(found["searched"][kind][name], values[rank::ranks], err_msg=name)
        assert found["searched"]["files"] == one["searched"]["files"]


@pytest.mark.parametrize("ranks", [1, *RANKS])
def test_processes_that_keep_relations_at_the_same_time_keep_one(outcomes, ranks):
    (one,) = outcomes[1]["together"]
    expected = one["relations"]["arrays"][0]
    assert expected[0][-1] > 10, "there are positives"
    for found in outcomes[ranks]["together"]:
        assert found["relations"]["entries"] == 1
        for arrays in found["relations"]["arrays"]:
            for array, wanted in zip(arrays, expected, strict=True):
                np.testing.assert_array_equal(array, wanted)


WHOLE = [
    "backbone=squeezenet1_1", "backbone.weights=none", "pooling=gem", "optimizer=sgd", "optimizer.lr=0.01",
    "mining.queries_per_round=11", "augmentation=strong", "untrained=false", "scheduler=constant",
]  # fmt: skip


def results_of(folder):
    return json.loads((folder / "results.json").read_text())


@pytest.fixture(scope="module")
def runs(tiny_dataset, tmp_path_factory):
    """Folders of a run by one process, and of one that two began and one finished."""
    folder = tmp_path_factory.mktemp("whole")
    arguments = [a for a in overrides(tiny_dataset, folder, *WHOLE) if "backbone.widths" not in a]
    one, two = folder / "one", folder / "two"
    half = ["trainer=ddp_cpu", "dataset.batch_size=1", "trainer.max_steps=9", f"hydra.run.dir={two}"]
    process = start("train", *arguments, "trainer.precision=32-true", *half, cwd=folder)
    call(train.main, "train", [*arguments, f"paths.run={one}", "name=run"])
    said = finish(process)
    began = results_of(two)
    alone = ["dataset.batch_size=2", "trainer.devices=1", "trainer.strategy=auto", "trainer.max_steps=-1"]
    call(train.main, "train", [f"resume={two}", *alone, f"paths.run={two}", "name=run"])
    return one, two, began, said


def test_a_run_by_two_processes_goes_on_with_one_as_if_it_had_always_been_one(runs):
    one, two, began, _ = runs
    first, second = (torch.load(f / "checkpoints" / "last.ckpt", weights_only=True) for f in (one, two))
    assert first["global_step"] == second["global_step"] == 14
    torch.testing.assert_close(second["state_dict"], first["state_dict"], rtol=1e-4, atol=1e-5)
    expected, found = results_of(one), results_of(two)
    assert [e["epoch"] for e in began["history"]] == [0]
    for split in ("val", "test"):
        assert found["evaluations"][split]["trained"]["recalls"] == expected["evaluations"][split]["trained"]["recalls"]
    for before, now in zip(expected["history"], found["history"], strict=True):
        assert now["val/loss"] == pytest.approx(before["val/loss"], rel=1e-3)


def test_a_run_says_what_its_batches_and_its_learning_rate_are(runs):
    one, two, _, said = runs
    assert said.count("2 processes share batches of 2 triplets; learning rate 0.01") == 1
    for folder in (one, two):
        row = next(row for row in read_log(folder / "metrics") if "train/global_batch_size" in row)
        assert (float(row["train/global_batch_size"]), float(row["train/base_lr"])) == (2, 0.01)
