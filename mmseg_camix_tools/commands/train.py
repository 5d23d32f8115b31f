"""Train a model, adapted or not.

examples:
  mmseg-camix train configs/dacs/mini_gta2cs_tiny.py
  mmseg-camix train CONFIG --resume                      # continue where the last run stopped
  mmseg-camix train CONFIG --cfg-options data_root=/data model.teacher.alpha=0.999
  mmseg-camix train CONFIG --speed amp=bf16 checkpointing    # faster, and with less memory
  mmseg-camix train CONFIG --vis tensorboard --cfg-options default_hooks.live.interval=500   # curves, pictures
  tools/dist_train.sh CONFIG 4                                   # four processes, one for each GPU
"""

import argparse
import os

import mmseg_camix  # noqa: F401  (first: it lets mmseg be imported)
from mmengine.config import Config
from mmengine.runner import Runner

from mmseg_camix.checkpoint.latest import find_latest_checkpoint
from mmseg_camix.cli import add_config_options
from mmseg_camix.engine.config import complete_for_adaptation, load_config, prepare_work_dir
from mmseg_camix.engine.monitoring import add_backends
from mmseg_camix.engine.processes import prepare_launch
from mmseg_camix.engine.resolved_config import record
from mmseg_camix.engine.speed import DESCRIPTION, apply_options


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """The command line, as in mmseg's own tool."""
    parser = argparse.ArgumentParser(description=__doc__, epilog=DESCRIPTION,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('config', help='file of the config')
    parser.add_argument('--work-dir', help='folder for logs, checkpoints and metrics.json '
                                           '(default: work_dirs/<folder of the config>/<its name>)')
    parser.add_argument('--resume', nargs='?', const='auto', metavar='CHECKPOINT',
                        help='continue from the last checkpoint of the work folder, or from the given one')
    parser.add_argument('--speed', nargs='+', default=[], metavar='OPTION',
                        help='options for speed and memory, listed below')
    parser.add_argument('--amp', action='store_true', help='the same as --speed amp=fp16')
    parser.add_argument('--vis', nargs='+', default=[], metavar='WHERE',
                        help='send curves and pictures to tensorboard, wandb or both')
    parser.add_argument('--seed', type=int, help='seed of all random numbers (default: that of the config)')
    add_config_options(parser)
    parser.add_argument('--launcher', choices=['none', 'pytorch', 'slurm', 'mpi'], default='none',
                        help='what started this process, if it is one of several')
    # torch.distributed.launch passes the first, torchrun sets the environment variable.
    parser.add_argument('--local_rank', '--local-rank', type=int, default=0, help=argparse.SUPPRESS)
    args = parser.parse_args(argv)
    os.environ.setdefault('LOCAL_RANK', str(args.local_rank))
    return args


def _resume(cfg: Config, checkpoint: str) -> None:
    """Continue from a checkpoint, or from the last one ('auto'); without one begin with the config's load_from."""
    if checkpoint == 'auto' and cfg.get('load_from') and find_latest_checkpoint(cfg.work_dir) is None:
        return
    cfg.resume = True
    cfg.load_from = None if checkpoint == 'auto' else checkpoint


def main(argv: list[str] | None = None) -> None:
    """Build the runner from the config and train."""
    args = parse_args(argv)
    cfg = load_config(args.config, args.cfg_options, args.work_dir)
    prepare_work_dir(cfg)
    prepare_launch(cfg, args.launcher)
    if args.seed is not None:
        cfg.randomness = dict(cfg.get('randomness') or {}, seed=args.seed)
    apply_options(cfg, [*args.speed, *(['amp=fp16'] if args.amp else [])])
    if args.vis:
        add_backends(cfg, args.vis)
    if args.resume:
        if args.resume != 'auto' and '://' not in args.resume and not os.path.isfile(args.resume):
            raise SystemExit(f'no checkpoint at {args.resume}; --resume without a file continues from the last one '
                             'of the work folder')
        _resume(cfg, args.resume)
    given = Config(cfg.to_dict())
    complete_for_adaptation(cfg)
    runner = Runner.from_cfg(cfg)
    record(runner, given, args.cfg_options, args.config)
    runner.train()
