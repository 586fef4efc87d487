"""`seqcl`: a lazy group of commands, and errors told in one line."""

from __future__ import annotations

import errno
import os
import signal
import sys
from importlib import import_module
from typing import Any

import rich_click as click
from click.exceptions import NoArgsIsHelpError

from seqcl.errors import SeqclError, did_you_mean

__all__ = ["cli", "main"]

_COMMANDS = (
    "pretrain",
    "embed",
    "evaluate",
    "finetune",
    "predict",
    "detect",
    "index",
    "search",
    "identify",
    "dedupe",
    "serve",
    "export",
    "report",
    "views",
    "inspect",
    "list",
    "describe",
    "schema",
    "doctor",
)

_MANY_PROCESSES = ("pretrain", "embed")


class _LazyGroup(click.RichGroup):
    """Import a command's module when it is asked for; a module imports no heavy library."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> Any:
        if cmd_name not in _COMMANDS:
            return None
        return import_module(f"seqcl.cli.{cmd_name}").command

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Any:
        name = args[0] if args else ""
        if name and not name.startswith("-") and name not in _COMMANDS:
            hint = did_you_mean(name, _COMMANDS)
            raise click.UsageError(f"no command {name!r}.{hint}")
        return super().resolve_command(ctx, args)


@click.group(cls=_LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="seqcl", message="seqcl %(version)s")
@click.pass_context
def cli(ctx: click.Context) -> None:
    """Contrastive representation learning on time series, audio and images.

    Point it at unlabelled data, get an encoder, put it to work:

    seqcl pretrain series --data train.npz --out runs/first

    seqcl evaluate runs/first --train train.npz --test test.npz
    """
    world = os.environ.get("WORLD_SIZE", "1")
    if world != "1" and ctx.invoked_subcommand not in _MANY_PROCESSES:
        raise click.UsageError(
            f"{ctx.invoked_subcommand} works in one process and WORLD_SIZE is {world}; start it "
            "without torchrun"
        )


def main() -> None:
    """Run the command line and exit: 0 done, 2 usage, others as in `seqcl.errors`.

    One of several processes exits with 0 for 3, done and some files skipped.
    """
    code = _run()
    if os.environ.get("WORLD_SIZE", "1") != "1":
        code = 0 if code == 3 else code  # which torchrun would take for a failure, and start again
        # Threads of torch.distributed that still hold Python objects may abort an interpreter
        # that ends in good order, after all is written.
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    sys.exit(code)


def _run() -> int:
    try:
        result = cli.main(standalone_mode=False, prog_name="seqcl")
    except SeqclError as error:
        return _fail(str(error), error.exit_code)
    except NoArgsIsHelpError as error:
        click.echo(error.format_message(), err=True)
        return 2
    except click.ClickException as error:
        return _fail(error.format_message(), 2)
    except (click.Abort, KeyboardInterrupt):
        return _fail("interrupted", 128 + signal.SIGINT)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 128 + signal.SIGPIPE
    except Exception as error:
        if os.environ.get("SEQCL_DEBUG"):
            raise
        if isinstance(error, OSError) and error.filename is not None:
            return _fail(f"{error.filename}: cannot be read or written ({error.strerror})", 2)
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EIO):
            return _fail(f"cannot write ({error.strerror}); make room, or write elsewhere", 2)
        kind = type(error).__name__
        hint = "set SEQCL_DEBUG=1 for the traceback, and please report it"
        return _fail(f"internal error: {kind}: {error}; {hint}", 1)
    return result if isinstance(result, int) else 0


def _fail(message: str, code: int) -> int:
    rank = os.environ.get("RANK", "0")
    who = "seqcl" if rank == "0" else f"seqcl, rank {rank}"
    for line in message.splitlines():
        click.echo(f"{who}: {line}", err=True)
    return code


if __name__ == "__main__":
    main()
