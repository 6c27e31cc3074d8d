# Sourced by the Slurm scripts. A time-out does not requeue a job by itself (--requeue is for pre-emption and failed
# nodes): Slurm sends USR1 to this shell in time, which hands TERM on and, once the checkpoint is saved, requeues.
requeue_in_time() {
    local timed_out= stopped= code=0 step=
    trap 'stopped=1; timed_out=1; [ -z "$step" ] || kill -TERM "$step" || true' USR1
    trap 'stopped=1; [ -z "$step" ] || kill -TERM "$step" || true' TERM  # pre-emption: Slurm requeues of itself
    "$@" &
    step=$!
    [ -z "$stopped" ] || kill -TERM "$step" || true  # the signal came before its number was known
    wait "$step" || code=$?
    while kill -0 "$step" 2>/dev/null; do  # a signal ends the wait, not the step
        code=0
        wait "$step" || code=$?
    done
    if [ -n "$timed_out" ]; then
        scontrol requeue "$SLURM_JOB_ID"
    fi
    return "$code"
}
