#!/bin/bash
# tools/slurm_train.sh PARTITION JOB_NAME CONFIG [options of tools/train.py]
# One process per GPU. GPUS (8), GPUS_PER_NODE (8, or GPUS where there are fewer), CPUS_PER_TASK (8); SRUN_ARGS for more options of srun.
set -euo pipefail
if [ $# -lt 3 ]; then sed -n 2,3p "$0" >&2; exit 2; fi
partition=$1 name=$2 config=$3
shift 3

# before any arithmetic, in which bash runs the commands in a subscript: a[$(command)]
for variable in GPUS GPUS_PER_NODE CPUS_PER_TASK; do
    if ! [[ ${!variable:-1} =~ ^[1-9][0-9]{0,8}$ ]]; then
        echo "$variable=${!variable} is not a whole number above 0" >&2
        exit 2
    fi
done
gpus=${GPUS:-8}
per_node=${GPUS_PER_NODE:-$((gpus < 8 ? gpus : 8))}
if [ $((gpus % per_node)) -ne 0 ]; then
    echo "GPUS=$gpus is no multiple of GPUS_PER_NODE=$per_node: every node must have the same number of processes" >&2
    exit 2
fi
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-1}
read -ra srun_args <<<"${SRUN_ARGS:-}" # several options in one variable
exec srun --partition "$partition" --job-name "$name" --ntasks "$gpus" --ntasks-per-node "$per_node" \
    --gres "gpu:$per_node" --cpus-per-task "${CPUS_PER_TASK:-8}" --kill-on-bad-exit 1 "${srun_args[@]}" \
    "${PYTHON:-python}" "$(dirname "$0")/train.py" "$config" --launcher slurm "$@"
