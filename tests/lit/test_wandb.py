"""Where a wandb run goes, under which id, how it ends, and what happens when wandb itself fails."""

import os
import signal
import socket
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from urllib.parse import urlsplit

import pytest
import wandb
from running import call, overrides
from wandb.sdk import wandb_setup
from wandb_records import read_run, read_runs

from crosslocate import train
from crosslocate.errors import RunStopped
from crosslocate.lit import wandb as module
from crosslocate.lit import wandb_account as account
from crosslocate.lit.outcome import finished_runs
from crosslocate.runs.record import RunRecord

OPTIONS = {
    "offline": True, "group": None, "tags": [], "checkpoint": "none", "finish_timeout": 5.0, "project": "test",
    "name": "run",
}  # fmt: skip


@pytest.fixture(autouse=True)
def no_account(monkeypatch, tmp_path):
    for name in ("API_KEY", "MODE", "BASE_URL", "CONFIG_DIR", "DIR", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.delenv(f"WANDB_{name}", raising=False)
    for name in ("NETRC", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("WANDB_SILENT", "true")


def logger_of(folder, **changes):
    return module.wandb_logger(str(folder), **OPTIONS | changes)


def log_some(folder, **changes):
    logger = logger_of(folder, **changes)
    logger.log_metrics({"value": 2.0}, step=3)
    return logger


@pytest.fixture
def stays_offline(monkeypatch, tmp_path):
    made = {}
    monkeypatch.setattr(module, "RunWandbLogger", lambda folder, **options: made.update(options))

    def offline(**variables) -> bool:
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        logger_of(tmp_path / "run", offline=None)
        return made["offline"]

    return offline


def test_without_an_account_it_is_offline(stays_offline):
    assert stays_offline()


def test_with_an_account_and_no_server_it_is_offline_and_says_so(stays_offline, capsys):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))  # bound, but not listening: refused at once
        address = f"http://127.0.0.1:{unused.getsockname()[1]}"
        assert stays_offline(WANDB_API_KEY="k" * 40, WANDB_BASE_URL=address)
    assert f"{address} cannot be reached" in capsys.readouterr().err.replace("\n", "")


def test_with_an_account_and_a_server_it_is_online(stays_offline, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"http://127.0.0.1:{server.getsockname()[1]}"
        log_in(tmp_path, address)
        assert not stays_offline(WANDB_BASE_URL=address)
        assert stays_offline(WANDB_MODE="offline")


def log_in(home, address):
    """As ``wandb login`` does."""
    (home / ".netrc").write_text(f"machine {urlsplit(address).netloc}\n  login user\n  password {'k' * 40}\n")
    (home / ".netrc").chmod(0o600)


def test_a_server_of_wandbs_settings_file_is_the_one(stays_offline, tmp_path, monkeypatch):
    settings = tmp_path / ".config" / "wandb" / "settings"
    settings.parent.mkdir(parents=True)
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"http://127.0.0.1:{server.getsockname()[1]}"
        settings.write_text(f"[default]\nbase_url = {address}\n")
        log_in(tmp_path, address)
        assert account.server() == address
        assert not stays_offline()
        monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")
        assert account.server() == "http://127.0.0.1:9"
        assert not account.has_account()
        monkeypatch.delenv("WANDB_BASE_URL")
        settings.write_text(f"[default]\nbase_url = {address}\nmode = offline\n")
        assert stays_offline()


def test_settings_are_read_as_wandb_reads_them(tmp_path, monkeypatch):
    for folder, name in (("here/wandb", "local"), (".config/wandb", "shared")):
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / "settings").write_text(f"[default]\nbase_url = http://{name}:80\nentity = {name}\n")
    monkeypatch.chdir(tmp_path / "here")
    wandb.teardown()
    theirs = wandb_setup.singleton().settings
    assert account.setting("base_url") == theirs.base_url == "http://local:80"
    (tmp_path / "here" / "wandb" / "settings").unlink()
    wandb.teardown()
    theirs = wandb_setup.singleton().settings
    assert account.setting("entity") == theirs.entity == "shared"
    monkeypatch.setenv("WANDB_ENTITY", "environment")
    wandb.teardown()
    assert account.setting("entity") == wandb_setup.singleton().settings.entity == "environment"
    wandb.teardown()


@pytest.mark.parametrize(
    ("address", "port"), [("http://wandb.test", 80), ("https://wandb.test", 443), ("http://wandb.test:8080", 8080)]
)
def test_the_port_of_a_server_is_that_of_its_scheme(monkeypatch, address, port):
    asked = []

    def refuse(where, patience):
        asked.append(where)
        raise ConnectionRefusedError

    monkeypatch.setattr(socket, "create_connection", refuse)
    assert not account.reachable(address)
    assert asked == [("wandb.test", port)]


@pytest.mark.parametrize(
    ("variables", "assumed"),
    [
        ({"HTTPS_PROXY": "http://proxy:3128"}, True),
        ({"https_proxy": "http://proxy:3128"}, True),
        ({"WANDB_HTTPS_PROXY": "http://proxy:3128"}, True),
        ({"HTTP_PROXY": "http://proxy:3128"}, False),
        ({"HTTPS_PROXY": "http://proxy:3128", "NO_PROXY": "localhost,.test"}, False),
        ({"https_proxy": "http://proxy:3128", "no_proxy": "*"}, False),
    ],
)
def test_behind_a_proxy_the_server_is_taken_for_granted(monkeypatch, variables, assumed):
    def refuse(*_):
        raise ConnectionRefusedError

    monkeypatch.setattr(socket, "create_connection", refuse)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert account.reachable("https://wandb.test") == assumed


@pytest.mark.parametrize("offline", ["null", "true"])
def test_a_wandb_that_is_switched_off_leaves_nothing(tiny_dataset, tmp_path, monkeypatch, offline):
    monkeypatch.setenv("WANDB_MODE", "disabled")
    folder = tmp_path / "run"
    more = [
        "logger=wandb", f"logger.wandb.offline={offline}", "name=run", "trainer.max_epochs=1", "untrained=false",
        "test=false", f"paths.outputs={tmp_path}/out", f"paths.run={folder}",
    ]  # fmt: skip
    call(train.main, "train", overrides(tiny_dataset, tmp_path, *more))
    assert (folder / "results.json").is_file()
    assert not (folder / "wandb").exists()


def job_that_raises(folder, error):
    with finished_runs():
        log_some(folder)
        raise error


@pytest.mark.parametrize(
    ("error", "code", "preempted", "status"),
    [
        (ValueError("broken"), 1, False, "failed"),
        (RunStopped(signal.SIGUSR2, "preempted"), 128 + signal.SIGUSR2, True, "stopped"),
        (RunStopped(signal.SIGUSR1, "timed out"), 128 + signal.SIGUSR1, True, "stopped"),
        (RunStopped(signal.SIGTERM, "terminated"), 128 + signal.SIGTERM, False, "stopped"),
        (RunStopped(signal.SIGINT, "interrupted"), 255, False, "stopped"),
        (KeyboardInterrupt(), 255, False, "stopped"),
    ],
)
def test_how_a_run_ends_is_what_wandb_is_told(tmp_path, error, code, preempted, status):
    with pytest.raises(type(error)):
        job_that_raises(tmp_path, error)
    run = read_run(tmp_path)
    assert (run["exit_code"], run["preempted"], run["summary"]["status"]) == (code, preempted, status)
    assert [row["value"] for row in run["history"]] == [2.0]


def test_runs_of_two_jobs_are_two_and_a_continued_one_is_one(tmp_path):
    for job in ("0", "1", "0"):
        with finished_runs():
            log_some(tmp_path / job)
    first, again = read_runs(tmp_path / "0")
    other = read_run(tmp_path / "1")
    kept = (tmp_path / "0" / "wandb" / "run_id").read_text().strip()
    assert first["id"] == again["id"] == kept
    assert other["id"] != kept
    assert {run["exit_code"] for run in (first, again, other)} == {0}


def test_group_tags_and_provenance_come_from_the_record(tmp_path):
    content = {
        "format": 1, "name": "run", "status": "running", "overrides": [], "sessions": [], "config": {},
        "choices": {"modality": "depth", "backbone": "small", "dataset": "sample", "loss": "triplet"},
        "sweep": {"folder": "/sweeps/margins", "name": "margins", "job": 2},
        "fingerprints": {"config": "abc", "data": "def"}, "source": {"commit": "1234", "dirty": False, "diff": None},
    }  # fmt: skip
    RunRecord(tmp_path, content).write()
    with finished_runs():
        log_some(tmp_path, tags=["mine"])
    run = read_run(tmp_path)
    assert run["group"] == "margins"
    assert run["tags"] == ["depth", "small", "sample", "mine"]
    assert {key: run["config"]["provenance"][key] for key in ("sweep", "fingerprints", "source")} == {
        key: content[key] for key in ("sweep", "fingerprints", "source")
    }


def service_of_this_process() -> int:
    """The process that wandb sends everything to."""
    for path in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((path / "stat").read_text().rpartition(")")[2].split()[1])
            if parent == os.getpid() and b"wandb-core" in (path / "cmdline").read_bytes():
                return int(path.name)
        except (OSError, ValueError):
            continue
    raise AssertionError("wandb has no service")


def job_whose_service_dies(folder):
    with finished_runs():
        logger = log_some(folder)
        os.kill(service_of_this_process(), signal.SIGKILL)
        for step in range(4, 60):
            logger.log_metrics({"value": 1.0}, step=step)
            if logger.silent:
                break
        logger.publish_summary({"best": 1.0})


def test_a_service_that_dies_ends_no_run_and_the_next_job_has_one(tmp_path):
    with pytest.warns(UserWarning, match="nothing more is sent to it"):
        job_whose_service_dies(tmp_path / "dies")
    with finished_runs():
        log_some(tmp_path / "next")
    run = read_run(tmp_path / "next")
    assert run["exit_code"] == 0
    assert [row["value"] for row in run["history"]] == [2.0]


def test_a_folder_that_cannot_be_written_ends_no_run(tmp_path):
    (tmp_path / "wandb").write_text("a file where a folder should be")
    with pytest.warns(UserWarning, match=r"RunWandbLogger cannot begin: .*wandb") as said, finished_runs():
        log_some(tmp_path).publish_summary({"best": 1.0})
    assert len([warning for warning in said if "Wandb" in str(warning.message)]) == 1
    assert (tmp_path / "wandb").is_file()
    assert module.DATA not in os.environ


class Refuses(BaseHTTPRequestHandler):
    """A server that knows nobody."""

    def do_POST(self):
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.send_response(401)
        self.end_headers()
        self.wfile.write(b"{}")

    do_GET = do_POST  # noqa: N815

    def log_message(self, *_):
        pass


def test_a_server_that_refuses_the_run_leaves_it_offline(tmp_path, monkeypatch):
    wandb.teardown()  # its service knows one server
    server = ThreadingHTTPServer(("127.0.0.1", 0), Refuses)
    Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("WANDB_BASE_URL", f"http://127.0.0.1:{server.server_port}")
    monkeypatch.setenv("WANDB_API_KEY", "k" * 40)
    with pytest.warns(UserWarning, match="kept offline"), finished_runs():
        log_some(tmp_path, offline=None)
    wandb.teardown()
    server.shutdown()
    assert [row["value"] for row in read_run(tmp_path)["history"]] == [2.0]
    kept = (tmp_path / "wandb" / "run_id").read_text().strip()
    assert read_run(tmp_path)["id"] == kept


def test_other_processes_than_the_first_log_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr("pytorch_lightning.utilities.rank_zero.rank_zero_only.rank", 1)
    with finished_runs():
        log_some(tmp_path).publish_summary({"best": 1.0})
    assert list(tmp_path.iterdir()) == []
