#!/bin/bash
# tools/dist_train.sh CONFIG PROCESSES [options of tools/train.py]
# One process per GPU; without CUDA the processes run on CPUs (gloo). Several machines: NNODES, NODE_RANK, MASTER_ADDR, PORT.
set -euo pipefail
if [ $# -lt 2 ]; then sed -n 2,3p "$0" >&2; exit 2; fi
config=$1 processes=$2
shift 2

# More threads than cores make CPU runs slower, not faster.
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-1}
exec "${PYTHON:-python}" -m torch.distributed.run \
    --nnodes "${NNODES:-1}" --node_rank "${NODE_RANK:-0}" \
    --master_addr "${MASTER_ADDR:-127.0.0.1}" --master_port "${PORT:-29500}" --nproc_per_node "$processes" \
    "$(dirname "$0")/train.py" "$config" --launcher pytorch "$@"
