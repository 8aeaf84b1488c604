"""`deploy/gpu_check.sh`: all that only a GPU can show, in fifteen minutes of GPU time.

Not run on a GPU yet: `--rehearse` runs every step on the CPU, with doubles for what a GPU would do.
"""
