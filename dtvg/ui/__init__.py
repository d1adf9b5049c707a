"""What pages are made of: one module or folder a page, and the widgets they share.

`address` keeps choices in the URL, `cache` remembers results until files change, `forms` makes
widgets from the configuration, `show` puts a figure beside its table. The only room that calls
streamlit. May import everything of the desk; never torch. Start reading at `page.py`.
"""
