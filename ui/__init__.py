"""The page: one module a tab, and what the tabs share. The only place that knows Gradio."""
