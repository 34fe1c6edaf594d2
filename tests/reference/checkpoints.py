"""One tiny BERT classifier as checkpoints come: fixtures/checkpoints/.

Usage: python tests/reference/checkpoints.py

`model.safetensors` beside `config.json` is the reference; every other file holds the same values in another form, or something that must be refused.
"""

import json
import os
import shutil
import sys
from collections import OrderedDict
from pathlib import Path

import numpy as np
import torch
import transformers
from safetensors.torch import load_file, save_file

FOLDER = Path(__file__).parent / "fixtures" / "checkpoints"
SEED = 21


def main() -> None:
    shutil.rmtree(FOLDER, ignore_errors=True)
    FOLDER.mkdir(parents=True)
    state = reference()
    good(state)
    shards(state)
    refused(state)
    size = sum(file.stat().st_size for file in FOLDER.rglob("*") if file.is_file())
    print(f"{size / 1000:.0f} kB")


def reference() -> dict[str, torch.Tensor]:
    """Values that `bfloat16` holds exactly, so that every form gives the same bits."""
    config = transformers.BertConfig(
        vocab_size=11, hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=6, max_position_embeddings=12, num_labels=3
    )
    model = transformers.BertForSequenceClassification(config)
    rng = np.random.default_rng(SEED)
    state = {
        name: torch.from_numpy(rng.normal(0, 0.2, tuple(value.shape)).astype(np.float32)).bfloat16().float()
        for name, value in model.state_dict().items()
        if value.dtype == torch.float32
    }
    config.architectures = ["BertForSequenceClassification"]
    config.save_pretrained(FOLDER)
    save_file(state, FOLDER / "model.safetensors", {"format": "pt"})
    return state


def good(state: dict[str, torch.Tensor]) -> None:
    ordered = OrderedDict(state)
    ordered._metadata = OrderedDict([("", {"version": 1})])  # as Module.state_dict() leaves it
    save = lambda value, name, **options: torch.save(value, FOLDER / name, **options)
    save(ordered, "plain.bin")
    save(ordered, "protocol4.bin", pickle_protocol=4)
    save(ordered, "before-1.6.bin", _use_new_zipfile_serialization=False)
    save({name: torch.nn.Parameter(value) for name, value in state.items()}, "parameters.bin")
    narrow = [torch.float16, torch.bfloat16, torch.float64, torch.float32]
    exact = lambda value: value.half().float().equal(value)
    save(
        {
            name: value.to(narrow[index % 4]) if index % 4 != 0 or exact(value) else value
            for index, (name, value) in enumerate(state.items())
        }
        | {"bert.embeddings.position_ids": torch.arange(12).expand((1, -1))},
        "types.bin",
    )
    views = {}
    shared = torch.cat([value.flatten() for value in state.values()])  # one storage, read at offsets
    start = 0
    for index, (name, value) in enumerate(state.items()):
        view = shared[start : start + value.numel()].view(value.shape)
        start += value.numel()
        if value.dim() == 2 and index % 2:
            view = value.t().contiguous().t()  # strides in reverse
        elif value.dim() == 2:
            wide = torch.zeros(value.shape[0], 2 * value.shape[1])
            wide[:, ::2] = value
            view = wide[:, ::2]
        views[name] = view
    save(views, "views.bin")
    classes = {"bert.": "net.encoder.", "classifier.": "net.fc."}  # of a class of one's own
    own = lambda name: next(new + name.removeprefix(old) for old, new in classes.items() if name.startswith(old))
    save({"epoch": 3, "best": 0.5, "model_state_dict": {own(name): value for name, value in state.items()}}, "own-class.pt")
    parameter = torch.nn.Parameter(torch.ones(2))
    optimizer = torch.optim.AdamW([parameter])
    parameter.sum().backward()
    optimizer.step()
    save({"state_dict": {f"module.{name}": value for name, value in state.items()}, "optimizer": optimizer.state_dict()}, "parallel.pt")
    old = lambda name: name.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta")
    save({old(name).removeprefix("bert."): value for name, value in state.items()}, "old-names.bin")


def shards(state: dict[str, torch.Tensor]) -> None:
    names = list(state)
    for kind, extension, write in [
        ("safetensors", "model", lambda part, path: save_file(part, path, {"format": "pt"})),
        ("bin", "pytorch_model", lambda part, path: torch.save(part, path)),
    ]:
        folder = FOLDER / f"shards-{kind}"
        folder.mkdir()
        weight_map = {}
        for number, part in enumerate([names[::2], names[1::2]], 1):
            file = f"{extension}-{number:05}-of-00002.{kind}"
            write({name: state[name] for name in part}, folder / file)
            weight_map |= dict.fromkeys(part, file)
        index = {"metadata": {"total_size": sum(4 * value.numel() for value in state.values())}, "weight_map": weight_map}
        (folder / f"{extension}.{kind}.index.json").write_text(json.dumps(index, indent=1) + "\n")


class Call:
    """Calls something while it is read by Python's own `pickle`."""

    def __reduce__(self):
        return os.system, ("echo this must never run",)


def refused(state: dict[str, torch.Tensor]) -> None:
    few = dict(list(state.items())[:2])
    torch.save(few | {"x": Call()}, FOLDER / "refused-call.bin")
    torch.save({"model": torch.nn.Linear(2, 3)}, FOLDER / "refused-object.bin")
    torch.save({"sparse": torch.eye(3).to_sparse()}, FOLDER / "refused-sparse.bin")
    torch.save([1, 2], FOLDER / "refused-list.bin")
    torch.jit.save(torch.jit.script(torch.nn.Linear(2, 3)), str(FOLDER / "refused-script.pt"))
    order, sys.byteorder = sys.byteorder, "big"
    torch.save(few, FOLDER / "refused-big-endian.bin")
    sys.byteorder = order
    assert load_file(FOLDER / "model.safetensors").keys() == state.keys()


if __name__ == "__main__":
    main()
