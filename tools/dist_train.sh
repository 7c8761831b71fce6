#!/bin/bash
# tools/dist_train.sh CONFIG PROCESSES [options of tools/train.py]
# One process per GPU; without CUDA the processes run on CPUs (gloo). Several machines: NNODES, NODE_RANK, MASTER_ADDR, PORT.
set -euo pipefail
if [ $# -lt 2 ]; then sed -n 2,3p "$0" >&2; exit 2; fi
config=$1 processes=$2
shift 2

# More threads than cores make CPU runs slower, not faster.
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-1}
whole_number() { # NAME of a variable that may be unset
    if ! [[ ${!1:-0} =~ ^(0|[1-9][0-9]{0,8})$ ]]; then
        echo "$1=${!1} is not a whole number" >&2
        exit 2
    fi
}
whole_number NNODES
rendezvous=(--standalone) # a free port, so that two runs on one machine do not meet
if [ "${NNODES:-1}" -gt 1 ]; then
    whole_number NODE_RANK
    whole_number PORT
    rendezvous=(--nnodes "$NNODES" --node_rank "$NODE_RANK" --master_addr "$MASTER_ADDR" --master_port "${PORT:-29500}")
fi
exec "${PYTHON:-python}" -m torch.distributed.run "${rendezvous[@]}" --nproc_per_node "$processes" \
    "$(dirname "$0")/train.py" "$config" --launcher pytorch "$@"
