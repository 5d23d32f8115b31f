"""Two processes connected by gloo, for tests of distributed code."""

import os
import traceback
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import torch.multiprocessing
from torch import distributed

WORLD = 2


def run_in_pair(jobs: dict[str, Callable[[int], object]], folder: Path) -> dict[str, list]:
    """Run jobs one after another in two processes; return name -> the two results (plain data and tensors).

    The processes are forked, because importing everything again takes longer than the tests. A CUDA context does not
    survive a fork, so with a GPU they are spawned, and do not use it.
    """
    context = torch.multiprocessing.get_context('spawn' if torch.cuda.is_available() else 'fork')
    processes = [context.Process(target=_work, args=(rank, jobs, folder)) for rank in range(WORLD)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv('CUDA_VISIBLE_DEVICES', '')
        for process in processes:
            process.start()
    for process in processes:
        process.join(180)
    for process in processes:
        if process.is_alive():
            process.terminate()
    results = [torch.load(file, weights_only=False) if (file := folder / f'{rank}.pt').exists() else
               dict.fromkeys(jobs, 'no result: the process died or timed out') for rank in range(WORLD)]
    return {name: [result.get(name, 'not reached') for result in results] for name in jobs}


def _work(rank: int, jobs: dict, folder: Path) -> None:
    torch.set_num_threads(1)  # a forked process must not use the OpenMP threads of its parent
    os.environ.update(RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE=str(WORLD))
    distributed.init_process_group('gloo', init_method=f'file://{folder}/store', rank=rank, world_size=WORLD)
    results = {}
    for name, job in jobs.items():
        try:
            results[name] = job(rank)
        except Exception:
            results[name] = traceback.format_exc()
            break  # the other process may be waiting in a collective operation: no later result is reliable
    torch.save(results, folder / f'{rank}.pt')
    if len(results) == len(jobs):
        distributed.barrier()
    os._exit(0)  # skips pytest's exit handlers
