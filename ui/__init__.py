"""The page: one module a tab, and what the tabs share. The only place that knows Gradio."""

from serving import lean

lean.prepare()  # before any of these modules imports Gradio
