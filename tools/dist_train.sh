#!/usr/bin/env bash
# Train in several processes: one for each GPU, or (without GPUs) on the CPU.
#
#   tools/dist_train.sh CONFIG PROCESSES [arguments of tools/train.py]
#
# On several machines, run it on each, with the same CONFIG and PROCESSES (those of one machine) and
#   NNODES=2 NODE_RANK=0 MASTER_ADDR=<address of the first machine> PORT=29500
# in the environment, NODE_RANK counting the machines from 0. Two trainings on one machine need two PORTs.
set -euo pipefail
if (( $# < 2 )); then sed -n '2,/^set/{/^set/!s/^# \{0,1\}//p}' "$0" >&2; exit 2; fi
config=$1 processes=$2
shift 2
tools=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
export PYTHONPATH="$tools/..${PYTHONPATH:+:$PYTHONPATH}"
exec "${PYTHON:-python}" -m torch.distributed.run --nnodes="${NNODES:-1}" --node_rank="${NODE_RANK:-0}" \
    --nproc_per_node="$processes" --master_addr="${MASTER_ADDR:-127.0.0.1}" --master_port="${PORT:-29500}" \
    "$tools/train.py" "$config" --launcher pytorch "$@"
