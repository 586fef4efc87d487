"""A CSV of a machine's sensors, from file to embedded windows, with the commands of the shell."""

import subprocess
import sys
from pathlib import Path

import numpy as np

# A pump that changes its regime every 500 samples: your file stands here.
rng = np.random.default_rng(0)
steps = np.arange(6_000)
regime = steps // 500 % 3
flow = np.sin(steps * (0.05 + 0.05 * regime)) + 0.1 * rng.normal(size=steps.size)
pressure = np.cos(steps * 0.11) * (1 + regime) + 0.1 * rng.normal(size=steps.size)
with Path("pump.csv").open("w") as file:
    file.write("time,flow,pressure,regime\n")
    for step in steps:
        stamp = np.datetime64("2024-01-01T00:00:00") + step
        file.write(f"{stamp},{flow[step]:.4f},{pressure[step]:.4f},mode{regime[step]}\n")


def seqcl(*arguments: str) -> None:
    """Run a seqcl command and show it."""
    print("$ seqcl", *arguments, flush=True)
    subprocess.run([sys.executable, "-m", "seqcl", *arguments], check=True)


# What is in the file, and a preset for it (printed; `> pump.yaml` would keep it).
seqcl("inspect", "pump.csv", "--set", "data.label=regime")

# Learn from windows of 128 samples. The label column is named so that it is not taken for a sensor.
data = ("--data", "pump.csv", "--set", "data.label=regime", "--set", "data.window=128",
        "--set", "data.hop=64")  # fmt: skip
seqcl("pretrain", "series", *data, "--set", "training.steps=60", "--out", "pump-run")

# One vector a window, with its label and the step where it begins.
seqcl("embed", "pump-run", "--data", "pump.csv", "--out", "windows.npz")
windows = np.load("windows.npz")
print({name: windows[name].shape for name in windows.files})
