"""The app: its pages by section. `streamlit run app.py` starts it on this machine only."""

from __future__ import annotations

import streamlit as st

from dtvg.ui import ahead, keys, look, notify, page, people

PAGES: dict[str, list[tuple[str, str, str]]] = {
    "Experiments": [
        ("pages/overview.py", "Overview", ":material/table_rows:"),
        ("pages/launch.py", "Launch", ":material/play_circle:"),
        ("pages/live.py", "Live", ":material/monitoring:"),
        ("pages/run.py", "Run", ":material/description:"),
        ("pages/fleet.py", "Fleet", ":material/dns:"),
    ],
    "Understand": [
        ("pages/groups.py", "Groups", ":material/view_timeline:"),
        ("pages/explain.py", "Explain", ":material/help_center:"),
        ("pages/curves.py", "Curves", ":material/stacked_line_chart:"),
        ("pages/compare.py", "Compare", ":material/leaderboard:"),
        ("pages/playground.py", "Playground", ":material/forum:"),
    ],
    "Material": [
        ("pages/tasks.py", "Tasks", ":material/dataset:"),
        ("pages/share.py", "Share", ":material/ios_share:"),
        ("pages/prompts.py", "Prompts", ":material/inventory_2:"),
    ],
}
# section → (file, title, icon); the first page is the start

ICON = """<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 24 24">
<path d="M12 12 5 5m7 7 7-7m-7 7v8" stroke="#0B6E99" stroke-width="2"/><g fill="#0B6E99">
<circle cx="12" cy="12" r="4"/><circle cx="5" cy="5" r="2.5"/><circle cx="19" cy="5" r="2.5"/>
<circle cx="12" cy="20.5" r="2.5"/></g></svg>"""
# drawn here, so that no icon is fetched from another machine


def main() -> None:
    """Choose the page and run it."""
    st.set_page_config(page_title="DTVG workbench", page_icon=ICON, layout="wide")
    st.html(look.sheet(page.is_dark()))
    sections = {
        section: [
            st.Page(file, title=title, icon=icon, default=file == "pages/overview.py")
            for file, title, icon in entries
        ]
        for section, entries in PAGES.items()
    }
    chosen = st.navigation(
        sections, position="sidebar" if people.is_open() else "hidden", expanded=True
    )
    people.gate()
    people.badge()
    notify.draw()
    keys.listen()
    ahead.load()
    chosen.run()


main()
