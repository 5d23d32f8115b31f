#!/usr/bin/env bash
# Train on a cluster that Slurm manages.
#
#   tools/slurm_train.sh PARTITION JOB_NAME CONFIG [arguments of tools/train.py]
#
# In the environment: GPUS in all (8), GPUS_PER_NODE (8, or GPUS if fewer), CPUS_PER_TASK (5), PORT of the
# processes' meeting point (29500), SRUN_ARGS for anything else, e.g. SRUN_ARGS='--time=2-00:00:00'.
set -euo pipefail
if (( $# < 3 )); then sed -n '2,/^set/{/^set/!s/^# \{0,1\}//p}' "$0" >&2; exit 2; fi
partition=$1 job=$2 config=$3
shift 3
gpus=${GPUS:-8}
per_node=${GPUS_PER_NODE:-$(( gpus < 8 ? gpus : 8 ))}
tools=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
export PYTHONPATH="$tools/..${PYTHONPATH:+:$PYTHONPATH}" MASTER_PORT="${PORT:-29500}"
# shellcheck disable=SC2086  # several arguments are meant
exec srun --partition="$partition" --job-name="$job" --gres="gpu:$per_node" --ntasks="$gpus" \
    --ntasks-per-node="$per_node" --cpus-per-task="${CPUS_PER_TASK:-5}" --kill-on-bad-exit=1 ${SRUN_ARGS:-} \
    "${PYTHON:-python}" -u "$tools/train.py" "$config" --launcher slurm "$@"
