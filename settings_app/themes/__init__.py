"""Themes: how the site looks, as data.

``models`` what is stored · ``keys`` which settings a theme has and what they may be · ``css`` what
``custom_css`` may hold · ``colours`` and ``palette`` from settings to colours that can be read ·
``services`` changes, ``selectors`` reads · ``stylesheet`` and ``config`` what front ends and our own
pages load.
"""
