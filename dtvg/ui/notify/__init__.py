"""What happened while a page is open: a toast, a mark in the tab's title, a notification.

The same things as mails and web hooks tell (`dtvg/jobs/news.py`); those come from a process of
their own, so that they come also where no page is open. docs/alerts.md.
"""

from __future__ import annotations

import contextlib
import re
import time
from pathlib import Path

import streamlit as st
from streamlit.components.v2 import component

from dtvg import paths
from dtvg.analysis import titles
from dtvg.config.alerts import AlertsConfig, alerts
from dtvg.errors import DtvgError
from dtvg.jobs import launcher
from dtvg.jobs.deliver import Alert
from dtvg.jobs.news import Told, news
from dtvg.store.reader import open_experiment
from dtvg.ui import cache

EVERY_S = 10.0
KEPT = 20
"""Alerts that a session remembers."""
_TOLD, _ALERTS = "notify-told", "notify-alerts"
ICONS = {"failed": ":material/error:", "lost": ":material/link_off:",
         "done": ":material/check_circle:", "stalled": ":material/hourglass_empty:"}  # fmt: skip
_NAMED = re.compile(r"\(([^()\s]+)\)")
_JS = Path(__file__).with_name("notify.js").read_text(encoding="utf-8")
_HTML = '<button type="button" hidden>Notify me in this browser</button>'
_CSS = """
button { font: inherit; font-size: 0.875rem; color: var(--st-text-color);
  background: var(--st-secondary-background-color); border: 1px solid var(--st-border-color);
  border-radius: 0.25rem; padding: 0.25rem 0.75rem; cursor: pointer; }
button:focus-visible { outline: 2px solid var(--st-primary-color); }
"""
_mount = component("dtvg_notify", js=_JS, html=_HTML, css=_CSS)


def draw() -> None:
    """Go on looking at what trains, and tell what happens to it."""

    @st.fragment(run_every=EVERY_S)
    def looking() -> None:
        with contextlib.suppress(DtvgError, OSError):
            for alert in look():
                st.toast(f"**{alert.experiment}**: {read(alert)}", icon=ICONS.get(alert.event))
        told = [
            {
                "id": f"{a.experiment}/{a.event}/{a.time}",
                "title": a.title,
                "text": a.text.replace(a.sentence, read(a)),
            }
            for a in st.session_state.get(_ALERTS, ())
        ]
        _mount(key="notify", data={"alerts": told})

    with st.sidebar:
        looking()


def read(alert: Alert) -> str:
    """Return an alert's sentence with a title in place of the run it names in parentheses."""
    return _NAMED.sub(lambda found: f"({titles.run(found[1])})", alert.sentence)


def look() -> list[Alert]:
    """Return what is new since this session looked last; at first nothing is."""
    seen: dict[str, Told] = st.session_state.setdefault(_TOLD, {})
    mine = {n: p for n, p in cache.experiment_paths().items() if p.parent == paths.runs()}
    names = [name for name, path in mine.items() if name in seen or launcher.is_held(path)]
    settings = _settings()
    found: list[Alert] = []
    for name in names:
        told = seen.get(name)
        now = news(
            open_experiment(mine[name]),
            told or Told(),
            time.time(),
            60 * settings.stalled_minutes,
            settings.events,
        )
        seen[name] = now.told
        found += now.alerts if told is not None else ()
        if not now.going and not launcher.is_held(mine[name]):
            del seen[name]  # at rest: another start is another session's news
    if found:
        kept = [*st.session_state.get(_ALERTS, ()), *found]
        st.session_state[_ALERTS] = kept[-KEPT:]
    return found


def _settings() -> AlertsConfig:
    """Return which events are told; all of them where nothing usable says otherwise."""
    try:
        return alerts() or AlertsConfig()
    except DtvgError:
        return AlertsConfig()
