import signal
import subprocess
import sys
import threading

import pytest

from seqcl.training.interrupts import interruptible

TWICE = """
import os, signal
from seqcl.training.interrupts import interruptible
with interruptible() as interrupts:
    os.kill(os.getpid(), signal.SIG{name})
    print(interrupts.received.name, flush=True)
    os.kill(os.getpid(), signal.SIG{name})
    print("still here", flush=True)
"""


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_the_first_signal_is_remembered_and_handlers_come_back(signum):
    before = signal.getsignal(signum)
    with interruptible() as interrupts:
        signal.raise_signal(signum)
        assert interrupts.received == signum
    assert signal.getsignal(signum) is before


@pytest.mark.parametrize(("name", "code"), [("INT", 130), ("TERM", 143)])
def test_the_error_names_step_and_checkpoint_and_has_the_exit_code_of_a_shell(name, code):
    with interruptible() as interrupts:
        signal.raise_signal(getattr(signal, f"SIG{name}"))
        error = interrupts.error(12, "the last good one is step-00000012")
    assert error.exit_code == code
    assert str(error) == (
        f"interrupted by SIG{name} after step 12; the last good one is step-00000012; "
        f"go on with --resume"
    )


@pytest.mark.parametrize("name", ["INT", "TERM"])
def test_the_second_signal_ends_the_process_at_once(name):
    done = subprocess.run(
        [sys.executable, "-c", TWICE.format(name=name)], capture_output=True, text=True
    )
    assert done.stdout == f"SIG{name}\n"
    assert done.returncode == -getattr(signal, f"SIG{name}")


def test_another_thread_catches_nothing_and_breaks_nothing():
    found = []

    def work():
        with interruptible() as interrupts:
            found.append(interrupts.received)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert found == [None]


def test_signals_do_what_they_do_elsewhere_where_none_is_to_be_caught():
    with pytest.raises(KeyboardInterrupt), interruptible(caught=False):
        signal.raise_signal(signal.SIGINT)
