"""`dtvg app`: start the app, from any folder; on this machine only, unless others may log in."""

from __future__ import annotations

import argparse
import os
import secrets
import socket
from pathlib import Path
from typing import Any
from urllib.parse import quote

ADDRESS = "127.0.0.1"


def add(commands: Any) -> None:
    """Add the `app` command to the command line."""
    command = commands.add_parser(
        "app",
        help="start the app and open it in a browser on this machine",
        epilog="Further options go to `streamlit run`, e.g. --theme.base dark.",
    )
    command.add_argument(
        "--port",
        "--server.port",
        type=int,
        help="port of the app (default: the first free one from 8501 on)",
    )
    command.add_argument(
        "--host",
        "--server.address",
        default=ADDRESS,
        help="address to serve (default: %(default)s, this machine only); any other needs the "
        "login of docs/server.md",
    )
    command.add_argument(
        "--insecure",
        action="store_true",
        help="serve other machines without a login: everybody who reaches the app may launch, "
        "stop and delete",
    )
    command.add_argument(
        "--token",
        action="store_true",
        help="ask each browser for a token that is printed here, since other accounts of this "
        "machine reach the port too",
    )
    command.add_argument(
        "--secrets.files",
        dest="secrets",
        action="append",
        default=[],
        metavar="FILE",
        help="file with the login's secrets (default: .streamlit/secrets.toml in the home folder "
        "or in this one)",
    )
    command.set_defaults(do=start, streamlit=[])


def start(arguments: argparse.Namespace) -> int:
    """Start the app and serve it until Ctrl-C.

    Raises:
        ConfigError: the app's packages are missing, an option is unknown, or others would reach
            the app without a login.
        JobError: the port is taken.
        StoreError: the folder for runs and prompts cannot be written.
    """
    from dtvg import paths
    from dtvg.errors import ConfigError
    from dtvg.extras import require
    from dtvg.store.files import check_writable

    if arguments.streamlit and not arguments.streamlit[0].startswith("--"):
        raise ConfigError(
            f"`dtvg app` does not accept '{arguments.streamlit[0]}'; it only accepts options, "
            "e.g. --port 8502."
        )
    if arguments.host.startswith("unix:"):
        raise ConfigError(
            "The app does not serve Unix sockets. Give an address, e.g. 127.0.0.1; where other "
            "accounts of this machine must not use the app, add --token."
        )
    require("app", "The app")
    check_writable(paths.home())
    options = ["--server.showEmailPrompt", "false", "--browser.gatherUsageStats", "false"]
    options += ["--server.address", arguments.host]
    options += [word for file in arguments.secrets for word in ("--secrets.files", file)]
    options += _allowed(arguments)
    if arguments.port is not None:
        check_port(arguments.port, arguments.host)
        options += ["--server.port", str(arguments.port)]
    print(f"Experiments and prompts are kept in {paths.home()}.", flush=True)
    if arguments.token:
        _with_token()
    return serve(paths.app(), [*options, *arguments.streamlit])


def _with_token() -> None:
    """Have the pages ask for a token, and print it; one that is set already is kept."""
    from dtvg.ui.token import TOKEN

    given = os.environ.get(TOKEN) or secrets.token_urlsafe(24)
    os.environ[TOKEN] = given
    query = quote(given, safe="")
    print(f"The app asks for this token: {given} (or open its address with ?token={query}).")


def _allowed(arguments: argparse.Namespace) -> list[str]:
    """Return the options for who is let in: the names under which a browser may ask for the app.

    Raises:
        ConfigError: others would reach the app without a login, or nobody could log in.
    """
    from streamlit import config

    from dtvg.config.people import people
    from dtvg.errors import ConfigError
    from dtvg.ui import people as desk

    if arguments.secrets:
        config.set_option("secrets.files", arguments.secrets)
    known, here = people(), desk.is_loopback(arguments.host)
    if arguments.insecure:
        os.environ[desk.INSECURE] = "1"
    if known is not None:
        if arguments.token:
            raise ConfigError(
                f"'{desk.path()}' turns the login on, and who logs in is asked for no token; leave "
                "--token out."
            )
        problem = desk.login_problem()
        if problem:
            raise ConfigError(problem)
    elif not here and not desk.is_insecure():
        raise ConfigError(
            f"On {arguments.host} other machines reach the app, and nobody has to log in. Set up "
            "the login (docs/server.md), or add --insecure to let everybody in who reaches it."
        )
    names = desk.public_names()
    if known is None and desk.is_insecure():
        names = ["*"]
    elif not here and arguments.host not in ("0.0.0.0", "::"):
        names.append(arguments.host)
    if not names:
        return []
    local = ["localhost", "127.0.0.1", "[::1]"]
    return [word for name in (*local, *names) for word in ("--server.allowedHosts", name)]


def check_port(port: int, host: str = ADDRESS) -> None:
    """Refuse a port or an address that cannot be served.

    Raises:
        ConfigError: it is not a port number.
        JobError: another program has it.
    """
    from dtvg.errors import ConfigError, JobError

    if not 0 < port < 65536:
        raise ConfigError(f"Port {port} does not exist. Allowed: 1 to 65535, e.g. --port 8502.")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise JobError(
                f"Port {port} of {host} cannot be used ({error.strerror}); give another, e.g. "
                f"`dtvg app --port {port + 1 if 1023 < port < 65535 else 8501}`, or none to take "
                "the first free one."
            ) from None


def serve(script: Path, options: list[str]) -> int:
    """Run Streamlit in this process; its settings lie beside the script.

    Raises:
        ConfigError: Streamlit knows an option not.
    """
    import click
    from streamlit.web import cli

    from dtvg.errors import ConfigError

    try:
        cli.main(["run", str(script), *options], standalone_mode=False)
    except click.exceptions.UsageError as error:
        raise ConfigError(
            f"{error.format_message().rstrip('.')}; `streamlit run --help` lists the options."
        ) from None
    except click.exceptions.Abort:
        return 130
    return 0
