"""Build a descriptor index: ``python -m crosslocate.index checkpoint=... [split=...] [output=...] [devices=...]``."""

from pathlib import Path
from typing import Any

from crosslocate.config.app import entry_point
from crosslocate.config.localize_schema import validate_index


@entry_point("index", validate_index)
def main(cfg: Any) -> None:
    """Embed the views of a database and keep their descriptors; continues an interrupted build."""
    index(cfg)


def index(cfg: Any) -> Path:
    """The whole job of a validated configuration; returns the folder of the index."""
    import os

    from omegaconf import OmegaConf

    from crosslocate.localization import shares
    from crosslocate.threads import limit_threads

    limit_threads(cfg.threads)
    import torch

    from crosslocate.lit.compilation import can_compile
    from crosslocate.lit.signals import listening
    from crosslocate.localization.processes import in_processes
    from crosslocate.localization.share_job import combine, embed_share, finish, leaving_notes

    shard, gpus = shares.launched_shard(os.environ), torch.cuda.device_count()
    devices = shares.devices_of(cfg.device, cfg.devices, shard, shares.local_number(os.environ), gpus)
    config = {
        **OmegaConf.to_container(cfg, resolve=True),  # type: ignore[dict-item]
        "compile": cfg.compile and can_compile(devices[0]),
        "threads": shares.threads_of(cfg.threads, len(devices), os.cpu_count() or 1, devices[0]),
    }
    with listening(), leaving_notes() as note:
        if len(devices) == 1:
            done = embed_share(config, shard, devices[0], note)
        else:
            done = combine(in_processes(embed_share, config, shard, devices, note))
    return finish(done, shard)


if __name__ == "__main__":
    main()
