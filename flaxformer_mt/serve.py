"""Serves a page and an API that translate: `python -m flaxformer_mt.serve`."""

import dataclasses
import importlib.util
import os
import socket
import sys
from typing import Literal

from flaxformer_mt import starter
from flaxformer_mt.command_line import parse, run_door
from flaxformer_mt.decoding.translator import Translator
from flaxformer_mt.errors import InputError
from flaxformer_mt.serving.limits import LOOPBACK, Limits
from flaxformer_mt.terminal import say
from flaxformer_mt.training.checkpoints import saved_steps
from flaxformer_mt.training.devices import choose_device
from flaxformer_mt.training.programs import enable_compilation_cache
from flaxformer_mt.training.run_folder import RunFolder

SECONDS_TO_END = 3.0
ANY_ADDRESS = ("0.0.0.0", "::", "")


@dataclasses.dataclass(frozen=True, kw_only=True)
class ServeOptions:
    """Serves a page to translate in, an API beside it, and a view of a training that is
    going on, to this machine alone unless --host says otherwise."""

    # Folder of a trained run, or of one that is training. Empty: the starter model,
    # English to Persian.
    run: str = ""
    # Where it can be reached: http://localhost:PORT; 0 takes one that is free.
    port: int = 8000
    # The address to listen at. Any other than the default lets other machines in, and
    # there is no password.
    host: str = "127.0.0.1"
    # Other names that browsers call this server by, as behind a proxy.
    name: tuple[str, ...] = ()
    # Where to compute; auto takes a GPU where there is one.
    device: Literal["auto", "cpu", "gpu"] = "auto"
    # Most characters of a text.
    max_characters: int = 1000
    # Most texts of a request.
    max_sentences: int = 64
    # Widest beam search, 1 to 64.
    max_beam: int = 8
    # Requests that may wait; those that come then are asked to come again (503).
    max_waiting: int = 64
    # Texts that are translated together, at most.
    max_together: int = 128
    # Connections at a time.
    max_connections: int = 512
    # Bytes of a request's body.
    max_body: int = 65536
    # Seconds that a request may take, waiting included.
    deadline: float = 30.0
    # Seconds that a client has to send its request, and to take its answer.
    patience: float = 15.0
    # Seconds that requests have to finish after Ctrl-C or SIGTERM.
    grace: float = 10.0

    def __post_init__(self) -> None:
        if not 0 <= self.port < 2**16:
            raise InputError(f"--port must be 0 (any) to {2**16 - 1}; got {self.port}.")
        for option in dataclasses.fields(self):
            value = getattr(self, option.name)
            if option.name == "port" or not isinstance(value, (int, float)):
                continue
            if not 0 < value < 2**31:
                typed = "--" + option.name.replace("_", "-")
                raise InputError(f"{typed} must be above 0; got {value}.")
        if self.max_beam > 64:
            raise InputError(f"--max-beam must be 1 to 64; got {self.max_beam}.")

    def limits(self) -> Limits:
        """What a request may cost."""
        return Limits(
            characters=self.max_characters,
            sentences=self.max_sentences,
            beam=self.max_beam,
            body=self.max_body,
            waiting=self.max_waiting,
            together=self.max_together,
            connections=self.max_connections,
            deadline=self.deadline,
            patience=self.patience,
            grace=self.grace,
        )

    def names(self) -> set[str]:
        """What clients may call the server; see Guard."""
        names = {*LOOPBACK, *self.name}
        if self.host in ANY_ADDRESS:
            return {*names, "*", socket.gethostname()}
        return {*names, self.host}

    def folder(self) -> RunFolder:
        """The run's folder."""
        return RunFolder.of(self.run or starter.model_folder())


def load(folder: RunFolder) -> Translator | None:
    """The best model of a run; None where its first step is not saved yet.

    Raises:
      FlaxformerError: there is a step, and it cannot be used.
    """
    if not saved_steps(folder.path):
        return None
    return Translator.load(folder.path, note=say)


def check_installed() -> None:
    """Raises InputError without the extra that a server takes."""
    missing = [n for n in ("starlette", "uvicorn") if not importlib.util.find_spec(n)]
    if missing:
        raise InputError(
            f"serving takes {' and '.join(missing)}, which is not installed: pip "
            "install 'flaxformer-mt[serve]'."
        )


def serve(arguments: list[str]) -> None:
    """The door: options from the command line, then requests until a signal."""
    options = parse(ServeOptions, arguments, prog="serve")
    check_installed()
    from flaxformer_mt.serving.app import Service
    from flaxformer_mt.serving.engine import Engine
    from flaxformer_mt.serving.log import begin_log
    from flaxformer_mt.serving.model_card import ModelCard
    from flaxformer_mt.serving.server import listen, make_server

    folder, limits = options.folder(), options.limits()
    folder.config()  # a wrong name is told at once
    listener = listen(options.host, options.port)
    begin_log()
    enable_compilation_cache(choose_device(options.device), note=say)
    engine = Engine(
        lambda: load(folder), limits, lambda model: ModelCard.of(folder, model)
    )
    app = Service(engine, folder, limits).application(options.names())
    server = make_server(app, limits)
    tell_address(options, listener.getsockname()[1])
    engine.on_failure = server.leave
    engine.start()
    try:
        server.run(sockets=[listener])
    finally:
        engine.stop()
    if engine.failure is not None:
        raise engine.failure
    if not engine.join(SECONDS_TO_END):
        # A program is being compiled, and XLA cannot be interrupted.
        sys.stderr.flush()
        os._exit(0)


def tell_address(options: ServeOptions, port: int) -> None:
    """Tells where it can be reached, and by whom."""
    host = "localhost" if options.host in (*ANY_ADDRESS, *LOOPBACK) else options.host
    host = f"[{host}]" if ":" in host else host
    say(f"http://{host}:{port} translates; Ctrl-C stops.")
    if options.host not in ("127.0.0.1", "::1", "localhost"):
        say(
            f"warning: --host {options.host} lets every machine that can reach this "
            "one translate here, without a password."
        )


def main() -> None:
    """python -m flaxformer_mt.serve"""
    run_door(serve)


if __name__ == "__main__":
    main()
