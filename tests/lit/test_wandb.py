"""Where a wandb run goes: online only with an account and a server that answers."""

import socket

import pytest

from crosslocate.lit import wandb as module


@pytest.fixture
def environment(monkeypatch, tmp_path):
    for name in ("WANDB_API_KEY", "WANDB_MODE", "WANDB_BASE_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("NETRC", raising=False)
    made = {}
    monkeypatch.setattr(module, "WandbLogger", lambda **options: made.update(options))

    def offline(**variables) -> bool:
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        module.wandb_logger(str(tmp_path / "run"), None)
        return made["offline"]

    return offline


def test_without_an_account_it_is_offline(environment):
    assert environment()


def test_with_an_account_and_no_server_it_is_offline_and_says_so(environment, capsys):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))  # bound, but not listening: refused at once
        address = f"http://127.0.0.1:{unused.getsockname()[1]}"
        assert environment(WANDB_API_KEY="k" * 40, WANDB_BASE_URL=address)
    assert f"{address} cannot be reached" in capsys.readouterr().err.replace("\n", "")


def test_with_an_account_and_a_server_it_is_online(environment, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"http://127.0.0.1:{server.getsockname()[1]}"
        (tmp_path / ".netrc").write_text("machine 127.0.0.1 login user password key\n")
        (tmp_path / ".netrc").chmod(0o600)
        assert not environment(WANDB_BASE_URL=address)
        assert environment(WANDB_MODE="offline")
