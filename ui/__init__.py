"""The page: one module per tab, and what the tabs share. Only this package builds on Gradio."""

from serving import lean

lean.prepare()  # before any of these modules imports Gradio
