"""Reference outputs of adapters that peft puts beside the tiny encoders of encoders.py: fixtures/lora/<name>/ for every entry of ADAPTERS.

Usage: python tests/reference/lora.py [name ...]

A and B are drawn, rounded to float32 and saved by peft; everything is then computed in float64. README.md lists the files and keys.
"""

import json
import sys
from dataclasses import dataclass, field

import numpy as np
import peft
import torch
import transformers
from bitsandbytes.functional import dequantize_4bit, quantize_4bit, quantize_blockwise
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file, save_file

from encoders import FAMILIES, FIXTURES, LABELS, draw_batches, forward_backward, layered_json, load, train, versions
from encoders import LEARNING_RATE, STEPS, WARMUP_STEPS, WEIGHT_DECAY

PREFIX = "base_model.model."


@dataclass(frozen=True)
class Adapter:
    """One adapter: the family whose fixture it belongs to, and what peft is told."""

    family: str
    seed: int
    targets: list[str] | str
    rank: int = 3
    alpha: int = 8
    rslora: bool = False
    bias: str = "none"
    modules_to_save: list[str] = field(default_factory=list)
    nf4: bool = False


ADAPTERS = {
    "bert": Adapter("bert", 31, ["query", "value"]),
    "bert-all": Adapter("bert", 32, "all-linear", rank=5, rslora=True, bias="all"),
    "roberta": Adapter("roberta", 33, r".*layer\.1.*\.(key|dense)", rslora=True),
    "electra": Adapter("electra", 34, ["embeddings_project", "output.dense"], rank=2),
    "distilbert": Adapter("distilbert", 35, ["q_lin", "v_lin", "lin2"], modules_to_save=["pre_classifier"]),
    "deberta-v2": Adapter("deberta-v2", 36, ["query_proj", "value_proj"], rank=4),
    "deberta-v2-conv": Adapter("deberta-v2-conv", 37, "all-linear", rank=2, modules_to_save=["pooler"]),
    "bart": Adapter("bart", 38, ["q_proj", "v_proj", "fc2"], rslora=True, modules_to_save=["classification_head"]),
    "modernbert": Adapter("modernbert", 39, "all-linear", rank=2, modules_to_save=["head"]),
    "llama": Adapter("llama", 40, ["q_proj", "v_proj", "down_proj"]),
    "mistral": Adapter("mistral", 41, "all-linear", rank=2),
    "qwen2": Adapter("qwen2", 42, ["k_proj", "gate_proj"], rslora=True),
    "qwen3": Adapter("qwen3", 43, "all-linear", rank=2),
    "gpt_neox": Adapter("gpt_neox", 44, ["query_key_value", "dense_4h_to_h"], bias="all"),
    "bert-nf4": Adapter("bert", 45, "all-linear", nf4=True),
    "deberta-v2-nf4": Adapter("deberta-v2", 46, ["query_proj", "value_proj"], nf4=True, modules_to_save=["pooler"]),
    "qwen2-nf4": Adapter("qwen2", 47, "all-linear", rank=2, nf4=True),
}


def main() -> None:
    torch.set_num_threads(1)
    transformers.utils.logging.disable_progress_bar()
    for name in sys.argv[1:] or ADAPTERS:
        write_adapter(name, ADAPTERS[name])


def write_adapter(name: str, adapter: Adapter) -> None:
    family, folder, base = FAMILIES[adapter.family], FIXTURES / "lora" / name, FIXTURES / adapter.family
    rng = np.random.default_rng(adapter.seed)
    model = load(family, base)
    if adapter.nf4:
        quantise(model)
    model = get_peft_model(model, lora_config(adapter), autocast_adapter_dtype=False)
    with torch.no_grad():
        for parameter in (parameter for parameter in model.parameters() if parameter.requires_grad):
            parameter.copy_(torch.from_numpy(rng.normal(0, 0.2, tuple(parameter.shape)).astype(np.float32)))
    model.save_pretrained(folder)
    (folder / "README.md").unlink(missing_ok=True)
    weights = folder / "adapter_model.safetensors"
    save_file({key: value.float() for key, value in load_file(weights).items()}, weights, metadata={"format": "pt"})
    config = json.loads((folder / "adapter_config.json").read_text())
    config["base_model_name_or_path"] = f"../../{adapter.family}"
    for key in ("target_modules", "modules_to_save"):  # sets, in any order
        if isinstance(config[key], list):
            config[key] = sorted(config[key])
    (folder / "adapter_config.json").write_text(json.dumps(config, indent=2) + "\n")

    model.eval()
    batches, tensors = draw_batches(family, model.config, rng), {}
    output = forward_backward(model, batches["pair"])
    tensors["pair.logits"], tensors["pair.loss"] = output.logits, output.loss
    trained = {stored_name(name): parameter for name, parameter in model.named_parameters() if parameter.requires_grad}
    for stored, parameter in trained.items():
        tensors[f"pair.gradient.{stored}"] = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad.clone()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    max_grad_norm = round(float(np.median(train(model, batches["ten_steps"], float("inf"))[1])), 2)
    model.load_state_dict(before)
    losses, norms, _ = train(model, batches["ten_steps"], max_grad_norm)
    tensors["ten_steps.losses"] = torch.tensor(losses, dtype=torch.float64)
    tensors["ten_steps.gradient_norms"] = torch.tensor(norms, dtype=torch.float64)
    tensors |= {f"ten_steps.after.{stored}": parameter for stored, parameter in trained.items()}
    reference = {
        "family": adapter.family,
        "seed": adapter.seed,
        "nf4": adapter.nf4,
        "versions": versions() | {"peft": peft.__version__},
        "pair": {"batch": batches["pair"]},
        "ten_steps": {
            "learning_rate": LEARNING_RATE,
            "weight_decay": WEIGHT_DECAY,
            "warmup_steps": WARMUP_STEPS,
            "total_steps": STEPS,
            "max_grad_norm": max_grad_norm,
            "batch_of_step": [step % len(batches["ten_steps"]) for step in range(STEPS)],
            "batches": batches["ten_steps"],
        },
    }
    save_file({key: value.detach().clone().contiguous() for key, value in tensors.items()}, folder / "reference.safetensors")
    (folder / "reference.json").write_text(layered_json(reference) + "\n")
    size = sum(file.stat().st_size for file in folder.iterdir())
    print(f"{name}: {len(trained)} trained tensors, {size / 1000:.0f} kB; whole: {sorted(config['modules_to_save'])}")


def quantise(model: torch.nn.Module) -> None:
    """Replaces the weights of all products but the head's by what bitsandbytes reads back from its NF4.

    Its double quantisation in steps, because it takes the mean of the scales in float32, in an order that is nowhere fixed; and as one
    row, because 0.50.2 reads rows of 16 numbers wrongly on the CPU (blocks do not heed rows).
    """
    for name, module in model.named_modules():
        is_head = any(part in name.split(".") for part in ("pooler", "classifier", "score"))
        if isinstance(module, torch.nn.Linear) and not is_head:
            packed, state = quantize_4bit(module.weight.data.float().reshape(1, -1), blocksize=64, quant_type="nf4")
            state.offset = state.absmax.double().mean().float()
            state.absmax, state.state2 = quantize_blockwise(state.absmax - state.offset, blocksize=256)
            state.nested = True
            module.weight.data.copy_(dequantize_4bit(packed, state).reshape(module.weight.shape))


def lora_config(adapter: Adapter) -> LoraConfig:
    return LoraConfig(
        task_type="SEQ_CLS",
        r=adapter.rank,
        lora_alpha=adapter.alpha,
        lora_dropout=0.0,
        target_modules=adapter.targets,
        use_rslora=adapter.rslora,
        bias=adapter.bias,
        modules_to_save=list(adapter.modules_to_save) or None,
    )


def stored_name(name: str) -> str:
    """The name of a parameter without what peft puts into it: that of the model, with `lora_A.weight` and `lora_B.weight` for the new ones."""
    for part in (".default", ".modules_to_save", ".base_layer"):
        name = name.replace(part, "")
    return name.removeprefix(PREFIX)


if __name__ == "__main__":
    assert LABELS == 3
    main()
