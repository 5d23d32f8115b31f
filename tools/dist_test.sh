#!/usr/bin/env bash
# Evaluate in several processes: one for each GPU, or (without GPUs) on the CPU.
#
#   tools/dist_test.sh CONFIG CHECKPOINT PROCESSES [arguments of tools/test.py]
#
# On several machines: as with tools/dist_train.sh.
set -euo pipefail
if (( $# < 3 )); then sed -n '2,/^set/{/^set/!s/^# \{0,1\}//p}' "$0" >&2; exit 2; fi
config=$1 checkpoint=$2 processes=$3
shift 3
tools=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
export PYTHONPATH="$tools/..${PYTHONPATH:+:$PYTHONPATH}"
exec "${PYTHON:-python}" -m torch.distributed.run --nnodes="${NNODES:-1}" --node_rank="${NODE_RANK:-0}" \
    --nproc_per_node="$processes" --master_addr="${MASTER_ADDR:-127.0.0.1}" --master_port="${PORT:-29500}" \
    "$tools/test.py" "$config" "$checkpoint" --launcher pytorch "$@"
