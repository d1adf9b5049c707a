"""Storage mirrors (`scale.mirror`): committed files copied to S3, GCS, Azure, SFTP or a folder.

Training knows one object, `Copies`, whose thread reads files that are committed; the desk and
another machine read them back. Not to be taken for `dtvg.mirrors`, which hands scalars to
trackers. May import store, config, extras and below; start at follow.py. docs/scale.md.
"""
