"""The report counts, averages and chooses as a reader would by hand, and survives what it is given."""

import csv
import json
import math
import statistics
import subprocess
import sys
from collections import defaultdict

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from synthetic import write_run, write_sweep

from crosslocate import report
from crosslocate.sweeps.runs import find_runs
from crosslocate.sweeps.settings import find_factors, value_of
from crosslocate.sweeps.table import make_table

MODALITIES, BACKBONES = ("depth", "segments"), ("resnet18", "vgg16", "small")


def run_report(*arguments, code=0):
    with pytest.raises(SystemExit) as ended:
        report.main([str(argument) for argument in arguments])
    assert ended.value.code == code


def rows_of(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture
def sweep(tmp_path):
    """Two modalities x two backbones x three seeds, the means of which are 10, 20, 30 and 40 %."""
    jobs = [
        {"modality": modality, "backbone": backbone, "seed": seed}
        for modality in MODALITIES
        for backbone in BACKBONES[:2]
        for seed in range(3)
    ]
    for number, job in enumerate(jobs):
        write_run(tmp_path / "jobs" / str(number), job, 0.1 * (1 + number // 3) + 0.01 * (job["seed"] - 1))
    return write_sweep(tmp_path / "jobs", jobs)


@st.composite
def measured(draw):
    """Values of runs by modality, backbone and seed, some of them missing."""
    keys = [(m, b, s) for m in MODALITIES for b in BACKBONES for s in range(3)]
    chosen = draw(st.lists(st.sampled_from(keys), min_size=1, max_size=len(keys), unique=True))
    return {key: draw(st.integers(0, 60)) / 60 for key in chosen}


@given(values=measured())
def test_cells_are_means_and_deviations_over_seeds(values, tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    for number, ((modality, backbone, seed), value) in enumerate(values.items()):
        write_run(folder / str(number), {"modality": modality, "backbone": backbone, "seed": seed}, value)
    table = make_table(find_runs([folder]).runs, metric="test/recall@1_20m")
    cells = defaultdict(list)
    for (modality, backbone, _), value in values.items():
        cells[modality, backbone].append(value / 2)
    varying = [len({key[axis] for key in cells}) > 1 for axis in (0, 1)]
    assert set(table.factors) == {
        name for name, varies in zip(("modality", "backbone"), varying, strict=True) if varies
    }
    found = {tuple(sorted(setting.values.values())): table.spread(setting) for setting in table.settings}
    expected = {
        tuple(sorted(part for part, varies in zip(key, varying, strict=True) if varies)): some
        for key, some in cells.items()
    }
    assert found.keys() == expected.keys()
    for key, some in expected.items():
        assert found[key].mean == pytest.approx(sum(some) / len(some))
        if len(some) == 1:
            assert found[key].deviation is None
        else:
            mean = sum(some) / len(some)
            deviation = math.sqrt(sum((value - mean) ** 2 for value in some) / (len(some) - 1))
            assert found[key].deviation == pytest.approx(deviation, abs=1e-12)
    best = max(sum(some) / len(some) for some in expected.values())
    assert table.spread(table.best).mean == pytest.approx(best)
    if table.rows is not None:
        for (modality, backbone), some in cells.items():
            row, column = (modality, backbone) if table.rows == "modality" else (backbone, modality)
            assert table.spread(table.cell(row, column)).mean == pytest.approx(statistics.fmean(some))


def test_files_of_a_report(sweep, capsys):
    run_report(sweep)
    settings = rows_of(sweep / "report" / "settings.csv")
    assert [(row["modality"], row["backbone"]) for row in settings] == [
        ("segments", "vgg16"), ("segments", "resnet18"), ("depth", "vgg16"), ("depth", "resnet18"),
    ]  # fmt: skip
    assert [float(row["mean"]) for row in settings] == pytest.approx([0.4, 0.3, 0.2, 0.1])
    assert all(float(row["standard_deviation"]) == pytest.approx(0.01) for row in settings)
    assert [row["best"] for row in settings] == ["True", "False", "False", "False"]
    assert {row["n"] for row in settings} == {"3"}
    runs = rows_of(sweep / "report" / "runs.csv")
    assert len(runs) == 12
    assert float(runs[11]["test/recall@1_20m"]) == pytest.approx(0.205)
    text = (sweep / "report" / "report.md").read_text()
    assert "| segments | 30.0 ± 1.0 (3) | **40.0 ± 1.0 (3)** |" in text
    with Image.open(sweep / "report" / "report.png") as picture:
        assert len(picture.convert("L").getcolors(256)) > 20
    printed = capsys.readouterr()
    assert "40.0 ± 1.0" in printed.out
    assert "best: modality=segments backbone=vgg16" in printed.out


@pytest.mark.parametrize("form", ["markdown", "csv"])
def test_what_is_printed_is_the_file(sweep, capsys, form):
    run_report(sweep, "--format", form)
    name = {"markdown": "report.md", "csv": "settings.csv"}[form]
    assert capsys.readouterr().out == (sweep / "report" / name).read_bytes().decode().replace("\r\n", "\n")


def test_a_cell_shows_the_best_of_the_other_keys(tmp_path):
    for number, (modality, rate, value) in enumerate(
        [("depth", 0.1, 0.2), ("depth", 0.2, 0.5), ("segments", 0.1, 0.4), ("segments", 0.2, 0.3)]
    ):
        write_run(tmp_path / str(number), {"modality": modality, "optimizer.lr": rate}, value)
    table = make_table(find_runs([tmp_path]).runs, rows="modality")
    assert table.cell("depth", None).values["optimizer.lr"] == "0.2"
    assert table.cell("segments", None).values["optimizer.lr"] == "0.1"
    assert [table.is_best_of_cell(setting) for setting in table.settings] == [True, True, False, False]


def test_the_best_may_be_chosen_by_another_metric_than_is_shown(tmp_path):
    write_run(tmp_path / "0", {"modality": "depth"}, 0.2)
    write_run(tmp_path / "1", {"modality": "segments"}, 0.4)
    runs = find_runs([tmp_path]).runs
    table = make_table(runs, metric="val/recall@1_20m", chosen_by="test/median_error_m")
    assert table.best.values == {"modality": "segments"}
    assert table.spread(table.best).mean == 0.4


def test_small_errors_are_the_best(tmp_path):
    write_run(tmp_path / "0", {"modality": "depth"}, 0.2)
    write_run(tmp_path / "1", {"modality": "segments"}, 0.4)
    table = make_table(find_runs([tmp_path]).runs, metric="val/median_error_m")
    assert table.best.values == {"modality": "segments"}
    assert table.spread(table.best).mean == pytest.approx(600.0)


def test_runs_without_results_are_listed_with_their_reason(sweep, capsys):
    write_run(sweep / "0", {"modality": "depth", "backbone": "resnet18", "seed": 0}, status="failed", reason="no disk")
    write_run(sweep / "1", {"modality": "depth", "backbone": "resnet18", "seed": 1}, status="running")
    write_run(
        sweep / "2", {"modality": "depth", "backbone": "resnet18", "seed": 2}, status="stopped", reason="preempted"
    )
    for file in (sweep / "3").iterdir():
        file.unlink()
    run_report(sweep)
    states = {
        row["folder"].rsplit("/", 1)[1]: (row["status"], row["reason"]) for row in rows_of(sweep / "report/runs.csv")
    }
    assert states["0"] == ("failed", "no disk")
    assert states["1"][0] == "killed"
    assert states["2"] == ("stopped", "preempted")
    assert states["3"] == ("not started", "")
    printed = capsys.readouterr().out
    assert "4 runs without results" in printed
    assert "preempted" in printed


def test_a_sweep_of_which_nothing_has_finished_shows_its_state(tmp_path, capsys):
    write_run(tmp_path / "jobs" / "0", {"seed": 0}, status="failed", reason="no disk")
    run_report(tmp_path / "jobs", code=1)
    printed = capsys.readouterr()
    assert "no disk" in printed.out
    assert "no run has finished yet" in printed.err


def damage_record(folder):
    (folder / "run.json").write_text("{")


def damage_results(folder):
    (folder / "results.json").write_text('{"evaluations": {"val": {"trained": {"split": "val"}}}}')


def lose_results(folder):
    (folder / "results.json").unlink()


def nest_results(folder):
    (folder / "results.json").write_text('{"evaluations": ' + "[" * 100_000 + "]" * 100_000 + "}")


@pytest.mark.parametrize("damage", [damage_record, damage_results, lose_results, nest_results])
def test_damaged_files_are_named_and_left_out(sweep, capsys, damage):
    damage(sweep / "5")
    run_report(sweep, code=1)
    printed = capsys.readouterr()
    told = printed.err.replace("\n", "")
    assert "left out" in told
    assert "jobs/5/" in told
    counts = {(row["modality"], row["backbone"]): row["n"] for row in rows_of(sweep / "report" / "settings.csv")}
    assert counts["depth", "vgg16"] == "2"


def test_a_damaged_record_of_the_sweep_does_not_hide_its_runs(sweep, capsys):
    (sweep / "sweep.json").write_text("[]")
    run_report(sweep, code=1)
    assert len(rows_of(sweep / "report" / "runs.csv")) == 12


def test_nothing_in_a_record_is_resolved_or_steers_the_terminal(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("SECRET", "hidden")
    evil = "${oc.env:SECRET}\x1b[2J|[bold]"
    for number, name in enumerate([evil, "plain"]):
        config = {"_target_": "os.system", "command": "${oc.env:SECRET}", "seed": number}
        write_run(tmp_path / str(number), {"dataset.root": name}, 0.1 * number, config=config)
    run_report(tmp_path)
    printed = capsys.readouterr()
    written = (tmp_path / "report" / "report.md").read_text()
    for text in (printed.out, printed.err, written):
        assert "hidden" not in text
        assert "\x1b[2J" not in text
    assert "${oc.env:SECRET} [2J|[bold]" in printed.out
    assert "\\[2J\\|\\[bold\\]" in written


def test_runs_are_found_once_in_folders_of_several_kinds(sweep, tmp_path):
    single = write_run(tmp_path / "single", {"modality": "depth", "backbone": "small", "seed": 0}, 0.9)
    found = find_runs([sweep, single, sweep / "3", tmp_path])
    assert len(found.runs) == 13
    assert [run.folder.name for run in found.runs[:12]] == [str(number) for number in range(12)]


def test_a_repetition_of_the_same_run_counts_once(tmp_path):
    for name, began, value in (("a", "2026-01-01", 0.1), ("b", "2026-01-03", 0.3), ("c", "2026-01-02", 0.2)):
        write_run(tmp_path / name, {"modality": "depth", "seed": 0}, value, sessions=[{"began": began}])
    table = make_table(find_runs([tmp_path]).runs)
    assert table.spread(table.best).values == (0.3,)
    assert "repeat another" in table.notes[0]


def test_runs_that_differ_in_more_than_their_seed_are_told_apart_or_doubted(tmp_path):
    write_run(tmp_path / "0", {"seed": 0}, 0.1, config={"seed": 0, "optimizer": {"lr": 0.1}})
    write_run(tmp_path / "1", {"seed": 1}, 0.3, config={"seed": 1, "optimizer": {"lr": 0.2}})
    table = make_table(find_runs([tmp_path]).runs)
    assert any("differ in more than their seed: optimizer.lr" in note for note in table.notes)


def test_values_that_experiments_and_yaml_set_are_found_where_the_command_line_has_none(tmp_path):
    write_run(tmp_path / "0", {"optimizer.lr": 0.1}, 0.1, config={"optimizer": {"lr": 0.1}})
    write_run(tmp_path / "1", {}, 0.1, config={"optimizer": {"lr": 0.2}})
    table = make_table(find_runs([tmp_path]).runs)
    assert [setting.values for setting in table.settings] == [{"optimizer.lr": "0.1"}, {"optimizer.lr": "0.2"}]


def test_one_value_in_several_spellings_is_one_setting(tmp_path):
    spellings = {"0": {"optimizer.lr": "1e-3"}, "1": {"optimizer.lr": "0.001"}, "2": {}}
    for seed, overrides in spellings.items():
        config = {"seed": int(seed), "optimizer": {"lr": 0.001}}
        write_run(tmp_path / seed, {**overrides, "seed": int(seed)}, 0.1, config=config)
    write_run(tmp_path / "3", {"optimizer.lr": "2e-3"}, 0.1, config={"optimizer": {"lr": 0.002}})
    table = make_table(find_runs([tmp_path]).runs, rows="optimizer.lr")
    assert {setting.values["optimizer.lr"]: len(setting.runs) for setting in table.settings} == {"0.001": 3, "0.002": 1}


@pytest.mark.parametrize(
    ("written", "value"),
    [("1e-3", 0.001), ("2", 2.0), ("True", True), ("null", None), ("[24,32]", [24, 32]), ("'a b'", "a b"),
     ("{a:1}", {"a": 1}), ("${optimizer.lr}", "${optimizer.lr}")],
)  # fmt: skip
def test_a_run_that_has_not_begun_shows_its_values_as_the_others_do(tmp_path, written, value):
    write_run(tmp_path / "0", {"x.y": written}, 0.1, config={"x": {"y": value}})
    write_sweep(tmp_path, [{"x.y": written}] * 2)
    begun, announced = find_runs([tmp_path]).runs
    assert announced.status == "not started"
    assert value_of(announced, "x.y") == value_of(begun, "x.y")


def test_a_run_that_has_not_begun_makes_no_factor(tmp_path):
    jobs = [{"optimizer.lr": 0.1, "seed": 0}, {"optimizer.lr": 0.1, "seed": 1}, {"seed": 2}]
    for number, job in enumerate(jobs[:2]):
        write_run(tmp_path / str(number), job, 0.1, config={"optimizer": {"lr": 0.1}, "seed": number})
    write_sweep(tmp_path, jobs)
    table = make_table(find_runs([tmp_path]).runs)
    assert table.factors == []
    assert [len(setting.runs) for setting in table.settings] == [2]
    assert [run.folder.name for run in table.unfinished] == ["2"]


def test_a_list_of_runs_says_what_those_are_that_have_not_begun(tmp_path, capsys):
    jobs = [{"modality": "depth"}, {"modality": "segments"}]
    write_run(tmp_path / "0", jobs[0], 0.1)
    write_sweep(tmp_path, jobs)
    run_report(tmp_path)
    assert "segments" in capsys.readouterr().out
    assert [row["modality"] for row in rows_of(tmp_path / "report" / "runs.csv")] == ["depth", "segments"]


def test_jobs_are_found_in_the_folders_that_the_record_of_the_sweep_names(tmp_path):
    jobs = [{"modality": "depth"}, {"modality": "segments"}, {"modality": "silhouettes"}]
    sweep = write_sweep(tmp_path / "jobs", jobs, ["of/depth", str(tmp_path / "else"), "later"])
    write_run(sweep / "of" / "depth", jobs[0], 0.1)
    write_run(tmp_path / "else", jobs[1], 0.2)
    found = [(run.folder, run.status, value_of(run, "modality")) for run in find_runs([sweep]).runs]
    assert found == [
        (sweep / "of" / "depth", "finished", "depth"),
        (tmp_path / "else", "finished", "segments"),
        (sweep / "later", "not started", "silhouettes"),
    ]


def test_keys_that_change_no_result_are_no_factors(tmp_path):
    for number, name in enumerate(("csv", "wandb")):
        overrides = {"logger": name, "paths.cache": name, "hydra.sweep.dir": name, "modality": f"m{number}"}
        write_run(tmp_path / str(number), overrides, 0.1)
    assert find_factors(find_runs([tmp_path]).runs) == ["modality"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--metric", "test/recall@7_20m"], "--metric='test/recall@7_20m' is not allowed; allowed: one of"),
        (["--choose", "nothing"], "--choose='nothing'"),
        (["--rows", "pooling"], "--rows='pooling' is not allowed; allowed: one of modality, backbone"),
        (["--rows", "modality", "--columns", "modality"], "--rows='modality'"),
        (["--columns", "modality"], "--rows=None"),
    ],
)
def test_wrong_choices_are_one_line_with_what_is_allowed(sweep, capsys, arguments, said):
    run_report(sweep, *arguments, code=1)
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert said in error


def test_a_folder_that_is_not_there_is_one_line(tmp_path, capsys):
    run_report(tmp_path / "none", code=1)
    assert f"error: {tmp_path / 'none'} is no folder" in capsys.readouterr().err


def test_help_imports_neither_torch_nor_numpy():
    code = (
        "import sys\nfrom crosslocate.report import main\ntry:\n    main(['--help'])\n"
        "finally:\n    assert not {'torch', 'numpy', 'matplotlib', 'hydra'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "folders of sweeps" in done.stdout


def test_numbers_are_in_order_and_names_as_they_came(tmp_path):
    for number, (rate, name) in enumerate([(1e-3, "b"), (1e-5, "c"), (1e-4, "a")]):
        write_run(tmp_path / str(number), {"optimizer.lr": rate, "modality": name}, 0.1)
    table = make_table(find_runs([tmp_path]).runs, rows="optimizer.lr", columns="modality")
    assert table.row_values() == ["1e-05", "0.0001", "0.001"]
    assert table.column_values() == ["b", "c", "a"]
    assert table.cell("1e-05", "a") is None


def test_the_report_of_many_settings_draws_the_best(tmp_path):
    for number in range(45):
        job = {"optimizer.lr": number + 1, "loss.margin": number % 2, "modality": "ab"[number % 2]}
        write_run(tmp_path / "jobs" / str(number), job, number / 100)
    run_report(tmp_path / "jobs", "--output", tmp_path / "out")
    assert len(rows_of(tmp_path / "out" / "settings.csv")) == 45
    assert (tmp_path / "out" / "report.png").stat().st_size > 10_000
    assert not (tmp_path / "jobs" / "report").exists()


def test_json_of_other_programs_is_refused_by_name(tmp_path, capsys):
    write_run(tmp_path / "jobs" / "0", {"seed": 0}, 0.1)
    record = json.loads((tmp_path / "jobs" / "0" / "run.json").read_text())
    (tmp_path / "jobs" / "0" / "run.json").write_text(json.dumps({**record, "format": 99}))
    run_report(tmp_path / "jobs", code=1)
    assert "has format 99" in capsys.readouterr().err.replace("\n", " ")
