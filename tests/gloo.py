"""Two processes that talk through gloo, for tests of what several processes do."""

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
    """Run jobs one after the other in two processes; name -> what each of the two gave (plain data and tensors).

    The processes are forked, for importing everything again takes longer than the tests. A GPU in use cannot be
    taken along, so then they start anew and do not see it.
    """
    context = torch.multiprocessing.get_context('spawn' if torch.cuda.is_available() else 'fork')
    started = [context.Process(target=_work, args=(rank, jobs, folder)) for rank in range(WORLD)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv('CUDA_VISIBLE_DEVICES', '')
        for process in started:
            process.start()
    for process in started:
        process.join(180)
    for process in started:
        if process.is_alive():
            process.terminate()
    results = [torch.load(file, weights_only=False) if (file := folder / f'{rank}.pt').exists() else
               dict.fromkeys(jobs, 'no answer: the process died or hung') for rank in range(WORLD)]
    return {name: [one.get(name, 'not reached') for one in results] for name in jobs}


def _work(rank: int, jobs: dict, folder: Path) -> None:
    # A forked process must not use the parent's threads of OpenMP.
    torch.set_num_threads(1)
    os.environ.update(RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE=str(WORLD))
    distributed.init_process_group('gloo', init_method=f'file://{folder}/store', rank=rank, world_size=WORLD)
    results = {}
    for name, job in jobs.items():
        try:
            results[name] = job(rank)
        except Exception:
            results[name] = traceback.format_exc()
            break  # the other process may wait in a collective operation: nothing after this can be trusted
    torch.save(results, folder / f'{rank}.pt')
    distributed.barrier() if len(results) == len(jobs) else None
    os._exit(0)  # without pytest's own exit
