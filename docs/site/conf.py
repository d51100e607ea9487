"""How Sphinx builds the site. `build.py` calls it; see there."""

project = "Tollgate"
author = "the authors of Tollgate"
copyright = author  # noqa: A001, the name that Sphinx asks for
root_doc = "index"
extensions = ["myst_parser"]
nitpicky = True
# Examples hold what a lexer does not know: parts of answers, `...` for what was left out.
suppress_warnings = ["misc.highlighting_failure"]

# Headings down to this depth can be linked to, by the names that code hosts give them.
myst_heading_anchors = 4

html_theme = "furo"
html_title = "Tollgate"
html_static_path = ["static"]
html_css_files = ["site.css"]
html_copy_source = False
html_show_sourcelink = False
html_show_sphinx = False
html_show_copyright = False
html_theme_options = {"top_of_page_buttons": []}
pygments_style = "friendly"
pygments_dark_style = "github-dark"
