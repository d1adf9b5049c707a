"""`dtvg alerts`: what is told to whom, a test of it, and the process that does it."""

from __future__ import annotations

import argparse
from typing import Any


def add(commands: Any) -> None:
    """Add the `alerts` group to the command line."""
    group = commands.add_parser("alerts", help="tell by mail or web hook what training does")
    actions = group.add_subparsers(dest="action", required=True, metavar="ACTION")
    showing = actions.add_parser("show", help="the settings, and what was sent last")
    showing.set_defaults(do=show)
    testing = actions.add_parser("test", help="send a test on every channel")
    testing.set_defaults(do=test)
    serving = actions.add_parser(
        "work", help="watch what trains until it ends (training starts this itself)"
    )
    serving.set_defaults(do=work)


def show(arguments: argparse.Namespace) -> int:
    """Print settings and the last deliveries."""
    import time

    from dtvg.config.alerts import EXAMPLE, alerts, path
    from dtvg.jobs.alerts import sent
    from dtvg.jobs.deliver import channels

    config = alerts()
    if config is None:
        print(f"There is no '{path()}', so nothing is sent; write it, {EXAMPLE}.")
        return 0
    where = ", ".join(channels(config)) or "nowhere: name an email or a web hook"
    print(f"{', '.join(config.events)} are told to: {where}.")
    for one in sent()[-10:]:
        when = time.strftime("%Y-%m-%d %H:%M", time.localtime(float(one.get("time") or 0)))
        said = one.get("why") or "sent"
        print(f"{when}  {one.get('channel')}  {one.get('experiment')} {one.get('event')}: {said}")
    return 0


def test(arguments: argparse.Namespace) -> int:
    """Send a test; 1 where a channel did not take it."""
    from dtvg.jobs.alerts import test as send_all

    outcomes = send_all()
    for channel, why in outcomes:
        print(f"{channel}: {why or 'sent'}")
    if not outcomes:
        print("The settings name neither an email nor a web hook, so nothing was sent.")
    return 1 if any(why for _, why in outcomes) else 0


def work(arguments: argparse.Namespace) -> int:
    """Watch until nothing is left."""
    from dtvg.jobs.alerts import work as watch

    watch()
    return 0
