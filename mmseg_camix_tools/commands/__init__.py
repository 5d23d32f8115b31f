"""The table of commands, and what runs them: ``mmseg-camix NAME``, ``python -m mmseg_camix NAME``, ``tools/*.py``.

A command is a module with ``main(argv) -> exit code``. This module imports only the standard library, so that the list
of commands and the answers to mistyped names need no import of torch.
"""

import sys
from difflib import get_close_matches
from functools import partial
from importlib import import_module, metadata
from typing import NoReturn

# Name -> (module, summary). Names of modules that begin with a dot are below this package.
COMMANDS: dict[str, tuple[str, str]] = {
    'train': ('.train', 'train a model, adapted or not'),
    'test': ('.test', 'evaluate a checkpoint: mIoU and IoU of each class, of student and teacher'),
    'predict': ('.predict', 'label images, folders and videos'),
    'score': ('mmseg_camix_tools.scoring.command', 'rank checkpoints on images without labels'),
    'report': ('.report', 'write a report on one or several trainings as one HTML file'),
    'adapt': ('.adapt', 'adapt a network to unlabelled images, and export the better one'),
    'export': ('.export', 'write a plain mmseg checkpoint, safetensors or ONNX'),
    'check': ('.check', 'check the data of a config before training'),
    'print-config': ('.print_config', 'print a config with all defaults and their origins'),
    'prepare': ('.prepare', 'check and count a download: GTA, SYNTHIA, Cityscapes, ...'),
    'prior': ('.prior', 'count the spatial prior of CAMix'),
    'stats': ('.stats', 'count the classes of each label, for rare-class and long-tail sampling'),
    'cache': ('.cache', 'cache the images and labels of a config for fast input'),
    'weights': ('.weights', 'download and check the pretrained weights that configs name'),
    'convert': ('.convert', 'convert a published checkpoint of DACS, CAMix, DAFormer, MIC, ...'),
    'convert-labels': ('.convert_labels', 'write train-id PNGs beside raw labels'),
    'draw': ('.draw', 'draw the miniature benchmark'),
}


def main() -> NoReturn:
    """Run the command that the command line names, or list all commands."""
    arguments = sys.argv[1:]
    if not arguments or arguments[0] in ('-h', '--help'):
        print(usage())
        sys.exit(0)
    if arguments[0] == '--version':
        print(f'mmseg_camix {metadata.version("mmseg_camix")}')
        sys.exit(0)
    name, *rest = arguments
    if name not in COMMANDS:
        close = get_close_matches(name, COMMANDS, n=1)
        print(f"error: there is no command '{name}'; "
              + (f"did you mean '{close[0]}'?" if close else f'there are: {", ".join(COMMANDS)}'), file=sys.stderr)
        sys.exit(2)
    sys.argv = [f'mmseg-camix {name}', *rest]  # argparse and torchrun's workers read the name of the program here
    run_command(name)


def usage() -> str:
    """Return the list of commands."""
    width = max(map(len, COMMANDS))
    lines = [f'  {name:<{width}}  {summary}' for name, (_, summary) in COMMANDS.items()]
    return '\n'.join(['usage: mmseg-camix COMMAND [arguments]', '', *lines, '',
                      '`mmseg-camix COMMAND --help` explains a command.'])


def run_command(name: str) -> NoReturn:
    """Run a command of the table with the arguments in `sys.argv`, and exit.

    A command that has not imported `mmseg_camix` by then reports its errors itself: importing it takes seconds.
    """
    try:
        module = import_module(COMMANDS[name][0], __name__)
    except ImportError as error:  # what is missing, and the remedy
        if '--debug' in sys.argv:
            raise
        sys.exit(f'error: {error} (--debug shows the stack trace)')
    command = partial(module.main, sys.argv[1:])
    if cli := sys.modules.get('mmseg_camix.cli'):
        cli.run(command)
    sys.exit(command())
