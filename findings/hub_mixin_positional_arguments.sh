#!/bin/bash
# huggingface_hub 2.4.0, ModelHubMixin: a subclass that passes its arguments on, `__init__(self,
# *args, **kwargs)`, is saved with positional values under the names "args" and "kwargs".
#
# One would expect: the mixin writes the values that a model was made with into config.json, so that
# `from_pretrained` makes the same model, whether they came by position or by name, as it does for a
# class whose `__init__` names its parameters. Or else it says that it cannot.
#
# Instead: positional values are paired with the names in the signature, stars or not. The first one
# becomes "args", the second one "kwargs" (although nothing was passed by name), any more are lost.
# `from_pretrained` then passes `args=...` by name. Where the base class takes further keywords, as that
# of segmentation-models-pytorch does, nothing complains: the model is made with its default values.
#
# Exits with 0 while that is so, and with 1 when it has changed.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check huggingface_hub==2.4.0 jinja2==3.1.6 2>/dev/null

cat > "$folder/save.py" <<'PYTHON'
import json
import sys
from pathlib import Path

from huggingface_hub import ModelHubMixin


class Network(ModelHubMixin):
    def __init__(self, encoder="resnet", depth=5, classes=1, **more):
        self.made = {"encoder": encoder, "depth": depth, "classes": classes}

    def _save_pretrained(self, save_directory):
        """There are no weights: this is about the configuration."""

    @classmethod
    def _from_pretrained(cls, *, model_id, **settings):
        downloads = ("revision", "cache_dir", "force_download", "local_files_only", "token")
        return cls(**{name: value for name, value in settings.items() if name not in downloads})


class Smaller(Network):
    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)


folder = Path(sys.argv[1])
made = {
    "named in the signature, by position": Network("mobilenet", 4, 3),
    "passed on, by keyword": Smaller(encoder="mobilenet", depth=4, classes=3),
    "passed on, by position": Smaller("mobilenet", 4, 3),
}
for number, (how, network) in enumerate(made.items()):
    network.save_pretrained(folder / str(number))
    saved = json.loads((folder / str(number) / "config.json").read_text())
    again = type(network).from_pretrained(folder / str(number))
    assert network.made == {"encoder": "mobilenet", "depth": 4, "classes": 3}
    print(f"{how}: saved {json.dumps(saved, sort_keys=True)}")
    print(f"{how}: made again as {json.dumps(again.made)}")
PYTHON

export HF_HOME="$folder/home" HF_HUB_DISABLE_TELEMETRY=1 HF_HUB_OFFLINE=1
"$folder/venv/bin/python" "$folder/save.py" "$folder" | tee "$folder/seen"

diff "$folder/seen" - <<'SEEN'
named in the signature, by position: saved {"classes": 3, "depth": 4, "encoder": "mobilenet"}
named in the signature, by position: made again as {"encoder": "mobilenet", "depth": 4, "classes": 3}
passed on, by keyword: saved {"classes": 3, "depth": 4, "encoder": "mobilenet"}
passed on, by keyword: made again as {"encoder": "mobilenet", "depth": 4, "classes": 3}
passed on, by position: saved {"args": "mobilenet", "kwargs": 4}
passed on, by position: made again as {"encoder": "resnet", "depth": 5, "classes": 1}
SEEN
echo "huggingface_hub 2.4.0: as described"
