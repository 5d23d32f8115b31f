"""``python -m mmseg_camix COMMAND``: the same as ``mmseg-camix COMMAND``, which lists the commands faster."""

from mmseg_camix_tools.commands import main

if __name__ == '__main__':
    main()
