"""Reference outputs of tiny models with random weights: fixtures/<family>/ for every family of FAMILIES, and for every variant of
VARIANTS, which has other values of a family's axes and one case only.

Usage: python tests/reference/encoders.py [family ...]

Weights are drawn, rounded to float32 and saved; everything is then computed in float64 by transformers. README.md lists the files and keys.
A new family is one more entry of FAMILIES, a value that its config may have one of VARIANTS.
"""

import json
import sys
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
import transformers
from safetensors.torch import save_file
from transformers import get_linear_schedule_with_warmup
from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

from dropout import keep_mask

FIXTURES = Path(__file__).parent / "fixtures"
LABELS = 3
HIDDEN_DROPOUT, ATTENTION_DROPOUT, CLASSIFIER_DROPOUT, POOLER_DROPOUT, ACTIVATION_DROPOUT = 0.1, 0.15, 0.2, 0.25, 0.12
DROPOUT_SEED, DROPOUT_STEP = 7, 3
LEARNING_RATE, WEIGHT_DECAY, WARMUP_STEPS, STEPS = 1e-3, 0.01, 3, 10


@dataclass(frozen=True)
class Family:
    """One architecture: the transformers class prefix, a tiny config, and what differs in the way it is called."""

    prefix: str
    seed: int
    config: dict
    token_types: bool = True
    dropout_config: tuple[str | None, ...] = ("hidden_dropout_prob", "attention_probs_dropout_prob", "classifier_dropout")
    attention_output_dropout: bool = True
    feed_forward_dropout: bool = True
    embedding_dropout: bool = True
    head_input_dropout: bool = True
    sites: Callable | None = None  # of the config; None: those of BERT and its relatives
    ends_with_eos: bool = False  # every sequence does (mBART: but for a language's token), and those of `pair` have one more before
    head_output_dropout: bool = True
    cases: tuple[str, ...] = ("single", "pair", "multi_label", "regression")
    is_variant: bool = False  # one case, no steps, no dropout

    @property
    def rates(self) -> dict[str, float]:
        """The dropout rates of the config's keys; keys that are the same have the last."""
        last = {"pooler_dropout": POOLER_DROPOUT, "activation_dropout": ACTIVATION_DROPOUT}.get(self.dropout_config[-1])
        return {key: rate for key, rate in zip(self.dropout_config, (HIDDEN_DROPOUT, ATTENTION_DROPOUT, CLASSIFIER_DROPOUT, last)) if key}


# Dropout sites beyond those of BERT, in blocks of their own (`model/mod.rs`)
POSITIONS, CONVOLUTION, DECODER_EMBEDDINGS, CROSS_ATTENTION, ACTIVATION = (block << 16 for block in range(1, 6))


def deberta_sites(config) -> list["Site"]:
    sites = [Site("embeddings", 0, HIDDEN_DROPOUT, "hidden")]
    layers = config.num_hidden_layers
    for layer in range(layers):
        if config.relative_attention:
            sites.append(Site(f"positions_{layer}", POSITIONS + layer, HIDDEN_DROPOUT, "positions"))
        sites.append(Site(f"attention_{layer}", 3 * layer + 1, ATTENTION_DROPOUT, "attention"))
        sites.append(Site(f"attention_output_{layer}", 3 * layer + 2, HIDDEN_DROPOUT, "hidden"))
        sites.append(Site(f"feed_forward_{layer}", 3 * layer + 3, HIDDEN_DROPOUT, "hidden"))
        if layer == 0 and getattr(config, "conv_kernel_size", 0) > 0:
            sites.append(Site("convolution", CONVOLUTION, HIDDEN_DROPOUT, "hidden"))
    sites.append(Site("head_input", 3 * layers + 1, POOLER_DROPOUT, "head"))
    sites.append(Site("head_output", 3 * layers + 2, CLASSIFIER_DROPOUT, "head"))
    return sites


def bart_sites(config) -> list["Site"]:
    sites = [Site("embeddings", 0, HIDDEN_DROPOUT, "hidden")]
    layers = config.encoder_layers + config.decoder_layers
    for layer in range(layers):
        if layer == config.encoder_layers:
            sites.append(Site("decoder_embeddings", DECODER_EMBEDDINGS, HIDDEN_DROPOUT, "hidden"))
        sites.append(Site(f"attention_{layer}", 3 * layer + 1, ATTENTION_DROPOUT, "attention"))
        sites.append(Site(f"attention_output_{layer}", 3 * layer + 2, HIDDEN_DROPOUT, "hidden"))
        if layer >= config.encoder_layers:
            number = CROSS_ATTENTION + 2 * (layer - config.encoder_layers)
            sites.append(Site(f"cross_attention_{layer}", number, ATTENTION_DROPOUT, "attention"))
            sites.append(Site(f"cross_attention_output_{layer}", number + 1, HIDDEN_DROPOUT, "hidden"))
        sites.append(Site(f"activation_{layer}", ACTIVATION + layer, ACTIVATION_DROPOUT, "hidden"))
        sites.append(Site(f"feed_forward_{layer}", 3 * layer + 3, HIDDEN_DROPOUT, "hidden"))
    sites.append(Site("head_input", 3 * layers + 1, CLASSIFIER_DROPOUT, "head"))
    sites.append(Site("head_output", 3 * layers + 2, CLASSIFIER_DROPOUT, "head"))
    return sites


SIZES = dict(vocab_size=53, max_position_embeddings=40, hidden_act="gelu", num_labels=LABELS)


def deberta(seed: int, **config) -> Family:
    rates = ("hidden_dropout_prob", "attention_probs_dropout_prob", "cls_dropout", "pooler_dropout")
    sizes = dict(SIZES, vocab_size=31, hidden_size=12, num_hidden_layers=1, num_attention_heads=2, intermediate_size=17)
    return Family("DebertaV2", seed, sizes | config, config.get("type_vocab_size", 0) > 0, rates, sites=deberta_sites)


def bart(prefix: str, seed: int, **config) -> Family:
    rates = ("dropout", "attention_dropout", "classifier_dropout", "activation_dropout")
    sizes = dict(vocab_size=31, max_position_embeddings=20, num_labels=LABELS, d_model=12)
    sizes |= dict(encoder_attention_heads=3, decoder_attention_heads=3, encoder_ffn_dim=17, decoder_ffn_dim=17)
    return Family(prefix, seed, sizes | config, False, rates, sites=bart_sites, ends_with_eos=True)


FAMILIES = {
    "bert": Family(
        "Bert",
        11,
        dict(SIZES, hidden_size=20, num_hidden_layers=2, num_attention_heads=4, intermediate_size=33),
        head_input_dropout=False,
    ),
    "roberta": Family(
        "Roberta",
        12,
        dict(SIZES, hidden_size=20, num_hidden_layers=2, num_attention_heads=5, intermediate_size=33, type_vocab_size=1, layer_norm_eps=1e-5)
        | dict(max_position_embeddings=42),  # two more than the longest sequence, as 514 is to 512
        token_types=False,
    ),
    "electra": Family(
        "Electra",
        13,
        dict(SIZES, embedding_size=12, hidden_size=21, num_hidden_layers=2, num_attention_heads=3, intermediate_size=31),
    ),
    "distilbert": Family(
        "DistilBert",
        14,
        dict(vocab_size=53, max_position_embeddings=40, activation="gelu", num_labels=LABELS, dim=15, n_layers=3, n_heads=5, hidden_dim=37),
        token_types=False,
        dropout_config=("dropout", "attention_dropout", "seq_classif_dropout"),
        attention_output_dropout=False,
        head_input_dropout=False,
    ),
    # As DeBERTa-v3: no positions but relative ones, in logarithmic buckets, with the content's keys and queries.
    "deberta-v2": deberta(
        15,
        hidden_size=15,
        num_hidden_layers=2,
        num_attention_heads=3,
        type_vocab_size=0,
        position_biased_input=False,
        relative_attention=True,
        pos_att_type="p2c|c2p",
        share_att_key=True,
        position_buckets=4,
        norm_rel_ebd="layer_norm",
    ),
    # Keys and queries of their own, no buckets and no norm; a convolution; positions and token types too.
    "deberta-v2-conv": deberta(
        16,
        num_hidden_layers=2,
        type_vocab_size=2,
        relative_attention=True,
        pos_att_type="c2p|p2c",
        max_relative_positions=9,
        conv_kernel_size=3,
        conv_act="gelu",
    ),
    "deberta-v2-c2p": deberta(17, relative_attention=True, pos_att_type="c2p", position_buckets=6, conv_kernel_size=5, conv_act="tanh"),
    "deberta-v2-p2c": deberta(18, relative_attention=True, pos_att_type="p2c", share_att_key=True, norm_rel_ebd="layer_norm"),
    "deberta-v2-plain": deberta(19, relative_attention=False, type_vocab_size=2),
    "bart": bart("Bart", 20, encoder_layers=2, decoder_layers=2, decoder_attention_heads=2, decoder_ffn_dim=13),
    "mbart": bart("MBart", 21, encoder_layers=1, decoder_layers=2, scale_embedding=True),
}


# Without token types, and with the loss of one task: the tasks are the same for all families.
SINGLE = dict(token_types=False, cases=("single",))
# Decoders drop out attention probabilities only. Heads are wider than hidden_size has room for, and two share one of keys.
DECODER = SINGLE | dict(
    dropout_config=(None, "attention_dropout", None),
    attention_output_dropout=False,
    feed_forward_dropout=False,
    embedding_dropout=False,
    head_input_dropout=False,
    head_output_dropout=False,
)
DECODER_SIZES = dict(vocab_size=31, max_position_embeddings=40, num_labels=LABELS, pad_token_id=0, bos_token_id=1, eos_token_id=2)
DECODER_SIZES |= dict(hidden_size=16, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2, intermediate_size=17)
WIDE_HEADS = DECODER_SIZES | dict(hidden_size=13, head_dim=6)
NEOX_SIZES = dict(DECODER_SIZES, hidden_size=21, num_attention_heads=3, rope_parameters=dict(rope_type="default", rope_theta=100.0, partial_rotary_factor=0.6))
del NEOX_SIZES["num_key_value_heads"]
MODERN_SIZES = dict(vocab_size=31, max_position_embeddings=40, num_labels=LABELS, pad_token_id=0, bos_token_id=1, eos_token_id=2, cls_token_id=1, sep_token_id=2)
MODERN_SIZES |= dict(hidden_size=18, num_hidden_layers=3, num_attention_heads=3, intermediate_size=13, local_attention=5)
MODERN = SINGLE | dict(
    dropout_config=("embedding_dropout", "attention_dropout", "classifier_dropout"),
    head_input_dropout=False,
)
FAMILIES |= {
    "qwen2": Family("Qwen2", 21, DECODER_SIZES, **DECODER),
    "qwen3": Family("Qwen3", 22, WIDE_HEADS, **DECODER),
    "mistral": Family("Mistral", 23, dict(WIDE_HEADS, sliding_window=4), **DECODER),
    "llama": Family("Llama", 24, dict(DECODER_SIZES, num_key_value_heads=4, tie_word_embeddings=True), **DECODER),
    "gpt_neox": Family(
        "GPTNeoX",
        25,
        NEOX_SIZES,
        **SINGLE,
        dropout_config=("hidden_dropout", "attention_dropout", None),
        head_input_dropout=False,
        head_output_dropout=False,
    ),
    "modernbert": Family("ModernBert", 26, MODERN_SIZES, **MODERN),
}


def rope(**parameters) -> dict:
    return dict(rope_parameters=dict(rope_theta=100.0, **parameters))


VARIANTS = {
    "qwen2_sliding": Family("Qwen2", 31, dict(DECODER_SIZES, use_sliding_window=True, sliding_window=3, max_window_layers=1), **DECODER),
    "qwen3_biases": Family("Qwen3", 32, dict(WIDE_HEADS, attention_bias=True, num_key_value_heads=1), **DECODER),
    "mistral_global": Family("Mistral", 33, dict(DECODER_SIZES, sliding_window=None), **DECODER),
    "llama_linear": Family("Llama", 34, DECODER_SIZES | rope(rope_type="linear", factor=2.5), **DECODER),
    "llama_llama3": Family(
        "Llama",
        35,
        dict(WIDE_HEADS, hidden_size=16, head_dim=8, attention_bias=True, mlp_bias=True)
        | rope(rope_type="llama3", factor=4.0, low_freq_factor=1.0, high_freq_factor=4.0, original_max_position_embeddings=20),
        **DECODER,
    ),
    "llama_yarn": Family(
        "Llama",
        36,
        dict(WIDE_HEADS, hidden_size=16, head_dim=8) | rope(rope_type="yarn", factor=2.0, original_max_position_embeddings=20),
        **DECODER,
    ),
    "gpt_neox_sequential": Family(
        "GPTNeoX",
        37,
        dict(NEOX_SIZES, hidden_size=18, use_parallel_residual=False, attention_bias=False)
        | rope(rope_type="default", partial_rotary_factor=1.0),
        **DECODER,
    ),
    "modernbert_mean": Family(
        "ModernBert",
        38,
        dict(MODERN_SIZES, classifier_pooling="mean", classifier_bias=True, norm_bias=True, attention_bias=True, mlp_bias=True)
        | dict(layer_types=["sliding_attention", "full_attention", "sliding_attention"], classifier_activation="silu"),
        **MODERN,
    ),
}
VARIANTS = {name: replace(variant, is_variant=True) for name, variant in VARIANTS.items()}


def main() -> None:
    torch.set_num_threads(1)
    transformers.utils.logging.disable_progress_bar()
    families = FAMILIES | VARIANTS
    for name in sys.argv[1:] or families:
        write_family(name, families[name])


def write_family(name: str, family: Family) -> None:
    folder = FIXTURES / name
    rng = np.random.default_rng(family.seed)
    model = build_model(family, rng, family.config | dict.fromkeys(family.rates, 0.0))
    model.save_pretrained(folder)
    reference, tensors = {"family": name, "seed": family.seed, "versions": versions()}, {}
    batches = draw_batches(family, model.config, rng)
    reference["cases"] = write_cases(family, folder, batches, tensors)
    if not family.is_variant:
        reference["ten_steps"] = write_ten_steps(load(family, folder), batches["ten_steps"], tensors)
        reference["dropout"] = write_dropout(family, folder, batches["dropout"], tensors)
    save_file({key: value.detach().clone().contiguous() for key, value in tensors.items()}, folder / "reference.safetensors")
    (folder / "reference.json").write_text(layered_json(reference) + "\n")
    size = sum(file.stat().st_size for file in folder.iterdir())
    print(f"{name}: {len(tensors)} tensors, {size / 1000:.0f} kB")


# Models and batches


def build_model(family: Family, rng: np.random.Generator, config: dict):
    """A float32 model whose every parameter is random: norm weights around 1, all the rest around 0."""
    config_class = getattr(transformers, f"{family.prefix}Config")
    model_class = getattr(transformers, f"{family.prefix}ForSequenceClassification")
    model = model_class(config_class(**config, problem_type="single_label_classification", attn_implementation="eager"))
    norms = norm_parameters(model)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            centre = 1.0 if name in norms and name.endswith("weight") else 0.0
            parameter.copy_(torch.from_numpy(rng.normal(centre, 0.15, tuple(parameter.shape)).astype(np.float32)))
    return model


def load(family: Family, folder: Path, **config):
    """The saved model in float64 with eager attention, in evaluation mode."""
    model_class = getattr(transformers, f"{family.prefix}ForSequenceClassification")
    model = model_class.from_pretrained(folder, attn_implementation="eager", dtype=torch.float64, **config).eval()
    with nothing_narrower(model):
        for module in model.modules():
            if hasattr(module, "compute_default_rope_parameters"):
                write_frequencies(module)
    return model


def write_frequencies(rotary) -> None:
    """Computes a rotary module's frequencies again, in the precision of the moment."""
    types = rotary.rope_type if isinstance(rotary.rope_type, dict) else {None: rotary.rope_type}
    for layer_type, rope_type in types.items():
        compute = rotary.compute_default_rope_parameters if rope_type == "default" else ROPE_INIT_FUNCTIONS[rope_type]
        frequencies, _ = compute(rotary.config) if layer_type is None else compute(rotary.config, layer_type=layer_type)
        assert frequencies.dtype == torch.float64, frequencies.dtype
        rotary.register_buffer("inv_freq" if layer_type is None else f"{layer_type}_inv_freq", frequencies, persistent=False)


@contextmanager
def nothing_narrower(model):
    """Within the context, what transformers computes in float32 whatever the model's type (norms, softmax, rotary positions) is
    computed in float64. DeBERTa computes nothing so; its scripted functions would not take part."""
    if model.config.model_type == "deberta-v2":
        yield
        return
    names = {"float32": torch.float32, "float": torch.float}
    to_float = torch.Tensor.float
    for name in names:
        setattr(torch, name, torch.float64)
    torch.Tensor.float = torch.Tensor.double
    try:
        yield
    finally:
        for name, dtype in names.items():
            setattr(torch, name, dtype)
        torch.Tensor.float = to_float


def norm_parameters(model) -> set[str]:
    """Full names of every norm's weight and bias."""
    is_norm = lambda module: isinstance(module, torch.nn.LayerNorm) or type(module).__name__.endswith("RMSNorm")
    modules = [(prefix, module) for prefix, module in model.named_modules() if is_norm(module)]
    return {f"{prefix}.{name}" for prefix, module in modules for name, _ in module.named_parameters()}


def draw_batches(family: Family, config, rng: np.random.Generator) -> dict:
    """Every batch of the fixture: ragged `input_ids`, `token_type_ids` or None, `labels`. Token ids are never the padding id."""
    special = {config.pad_token_id} | ({config.eos_token_id} if family.ends_with_eos else set())
    ids = [token for token in range(config.vocab_size) if token not in special]

    def batch(lengths: list[int], pair: bool = False, labels: str = "single") -> dict:
        count = len(lengths)
        drawn = {
            "input_ids": [rng.choice(ids, length).tolist() for length in lengths],
            "token_type_ids": None,
            "labels": rng.integers(LABELS, size=count).tolist(),
        }
        if family.ends_with_eos:  # the same number everywhere, or transformers refuses the batch
            for row in drawn["input_ids"]:
                end = len(row) - 1
                if family.prefix == "MBart" and end > 0:
                    end -= 1  # a language's token follows
                row[end] = config.eos_token_id
                if pair and min(lengths) > 2:
                    row[int(rng.integers(end))] = config.eos_token_id
        if pair and family.token_types:
            first = [int(rng.integers(1, length + 1)) for length in lengths]
            drawn["token_type_ids"] = [[0] * one + [1] * (length - one) for one, length in zip(first, lengths)]
        if labels == "multi":
            drawn["labels"] = rng.integers(2, size=(count, LABELS)).astype(float).tolist()
        if labels == "real":  # multiples of 1/8, exact in float32
            drawn["labels"] = (rng.integers(-16, 17, size=(count, LABELS)) / 8).tolist()
        return drawn

    return {
        "single": batch([7, 1, 13, 4, 10]),
        "pair": batch([9, 3, 12, 5], pair=True),
        "multi_label": batch([11, 2, 1, 6, 8], pair=True, labels="multi"),
        "regression": batch([5, 13, 8], labels="real"),
        "ten_steps": [batch([3, 9, 1, 13, 6]), batch([8, 11, 5, 2, 7, 10], pair=True), batch([12, 4, 4, 1, 9])],
        "dropout": batch([6, 11, 1, 9, 4], pair=True),
    }


def padded(batch: dict, pad_token_id: int) -> dict[str, torch.Tensor]:
    """The batch as transformers takes it: `input_ids`, `attention_mask` and `token_type_ids` of [batch, longest], and `labels`."""

    def pad(rows: list[list[int]], value: int) -> torch.Tensor:
        longest = max(map(len, rows))
        return torch.tensor([row + [value] * (longest - len(row)) for row in rows])

    inputs = {
        "input_ids": pad(batch["input_ids"], pad_token_id),
        "attention_mask": pad([[1] * len(row) for row in batch["input_ids"]], 0),
        "labels": torch.tensor(batch["labels"], dtype=torch.float64 if isinstance(batch["labels"][0], list) else torch.int64),
    }
    if batch["token_type_ids"] is not None:
        inputs["token_type_ids"] = pad(batch["token_type_ids"], 0)
    return inputs


def forward_backward(model, batch: dict):
    """One forward and backward pass from zero gradients; returns the output with `logits` [batch, labels] and `loss`."""
    model.zero_grad(set_to_none=True)
    with nothing_narrower(model):
        output = model(**padded(batch, model.config.pad_token_id))
        output.loss.backward()
    return output


def record_pass(case: str, model, output, tensors: dict) -> None:
    """`case.logits`, `case.loss` and `case.gradient.<name>` for every parameter."""
    tensors[f"{case}.logits"] = output.logits
    tensors[f"{case}.loss"] = output.loss
    for name, parameter in model.named_parameters():
        tensors[f"{case}.gradient.{name}"] = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad


# Forward and backward without dropout


PROBLEM_TYPES = {
    "single": "single_label_classification",
    "pair": "single_label_classification",
    "multi_label": "multi_label_classification",
    "regression": "regression",
}


def write_cases(family: Family, folder: Path, batches: dict, tensors: dict) -> dict:
    described = {}
    for case in family.cases:
        problem_type = PROBLEM_TYPES[case]
        model = load(family, folder, problem_type=problem_type)
        record_pass(case, model, forward_backward(model, batches[case]), tensors)
        described[case] = {"problem_type": problem_type, "batch": batches[case]}
    return described


# Ten optimiser steps


def write_ten_steps(model, batches: list[dict], tensors: dict) -> dict:
    """AdamW over the batches in turn. The clipping norm is a median of unclipped norms, so that some steps are clipped and some are not."""
    weights = {name: value.clone() for name, value in model.state_dict().items()}
    max_grad_norm = round(float(np.median(train(model, batches, float("inf"))[1])), 2)
    model.load_state_dict(weights)
    losses, norms, rates = train(model, batches, max_grad_norm)
    clipped = sum(norm > max_grad_norm for norm in norms)
    assert 0 < clipped < STEPS, f"{clipped} of {STEPS} steps clipped"
    tensors["ten_steps.losses"] = torch.tensor(losses, dtype=torch.float64)
    tensors["ten_steps.gradient_norms"] = torch.tensor(norms, dtype=torch.float64)
    tensors["ten_steps.learning_rates"] = torch.tensor(rates, dtype=torch.float64)
    tensors.update({f"ten_steps.after.{name}": parameter for name, parameter in model.named_parameters()})
    return {
        "learning_rate": LEARNING_RATE,
        "betas": [0.9, 0.999],
        "epsilon": 1e-8,
        "weight_decay": WEIGHT_DECAY,
        "no_weight_decay": sorted(undecayed(model)),
        "schedule": "linear",
        "warmup_steps": WARMUP_STEPS,
        "total_steps": STEPS,
        "learning_rates": rates,
        "max_grad_norm": max_grad_norm,
        "clipped_steps": clipped,
        "batch_of_step": [step % len(batches) for step in range(STEPS)],
        "batches": batches,
    }


def train(model, batches: list[dict], max_grad_norm: float) -> tuple[list[float], list[float], list[float]]:
    """Losses, gradient norms before clipping, and learning rates of each step; the model is changed in place."""
    optimizer = adamw(model)
    schedule = get_linear_schedule_with_warmup(optimizer, WARMUP_STEPS, STEPS)
    losses, norms, rates = [], [], []
    for step in range(STEPS):
        output = forward_backward(model, batches[step % len(batches)])
        losses.append(output.loss.item())
        norms.append(torch.nn.utils.clip_grad_norm_(model.parameters(), max_grad_norm).item())
        rates.append(schedule.get_last_lr()[0])
        optimizer.step()
        schedule.step()
    return losses, norms, rates


def adamw(model) -> torch.optim.AdamW:
    without_decay = undecayed(model)
    decayed = [parameter for name, parameter in model.named_parameters() if name not in without_decay]
    kept = [parameter for name, parameter in model.named_parameters() if name in without_decay]
    groups = [{"params": decayed, "weight_decay": WEIGHT_DECAY}, {"params": kept, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=LEARNING_RATE, betas=(0.9, 0.999), eps=1e-8)


def undecayed(model) -> set[str]:
    """Biases and every norm's parameters."""
    return norm_parameters(model) | {name for name, _ in model.named_parameters() if name.endswith("bias")}


# Dropout with given masks


@dataclass(frozen=True)
class Site:
    """One place where dropout acts; `kind` tells what a row and a column of its mask are."""

    name: str
    site: int
    p: float
    kind: str  # "hidden": [tokens, columns]; "attention": [tokens * heads, key]; "head": [batch, columns]; "positions": [rows, columns]


def dropout_sites(family: Family, layers: int) -> list[Site]:
    """The sites in the order in which transformers calls dropout."""
    is_modern = family.prefix == "ModernBert"  # its attention output has the rate of the probabilities, its inner values one of their own
    sites = [Site("embeddings", 0, HIDDEN_DROPOUT, "hidden")] if family.embedding_dropout else []
    for layer in range(layers):
        sites.append(Site(f"attention_{layer}", 3 * layer + 1, ATTENTION_DROPOUT, "attention"))
        if family.attention_output_dropout:
            rate = ATTENTION_DROPOUT if is_modern else HIDDEN_DROPOUT
            sites.append(Site(f"attention_output_{layer}", 3 * layer + 2, rate, "hidden"))
        if family.feed_forward_dropout:
            sites.append(Site(f"feed_forward_{layer}", 3 * layer + 3, HIDDEN_DROPOUT, "hidden"))
    if family.head_input_dropout:
        sites.append(Site("head_input", 3 * layers + 1, CLASSIFIER_DROPOUT, "head"))
    if family.head_output_dropout:
        sites.append(Site("head_output", 3 * layers + 2, CLASSIFIER_DROPOUT, "head"))
    return sites


def site_mask(site: Site, lengths: list[int], shape: torch.Size) -> np.ndarray:
    """The mask of a site for a padded tensor of `shape`: float64, 1 where kept or padded. Rows are numbered without padding."""
    drawn = lambda rows, columns: keep_mask(DROPOUT_SEED, DROPOUT_STEP, site.site, rows, columns, site.p)
    if site.kind in ("head", "positions"):
        return drawn(range(shape[0]), shape[1]).astype(np.float64)
    mask = np.ones(shape)
    start = 0
    for sequence, length in enumerate(lengths):
        if site.kind == "hidden":
            mask[sequence, :length] = drawn(range(start, start + length), shape[2])
        else:  # [batch, heads, query, key]
            heads = shape[1]
            rows = drawn(range(start * heads, (start + length) * heads), length)
            mask[sequence, :, :length, :length] = rows.reshape(length, heads, length).transpose(1, 0, 2)
        start += length
    return mask


@contextmanager
def injected_dropout(sites: list[Site], lengths: list[int], masks: dict[str, np.ndarray]):
    """Within the context, torch's dropout takes the sites in turn; the masks used are left in `masks` by site name."""
    original, waiting = torch.nn.functional.dropout, list(sites)

    def dropout(input: torch.Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> torch.Tensor:
        site = waiting.pop(0)
        assert training and p == site.p, f"{site} was called with p = {p}, training = {training}"
        assert input.dim() == {"hidden": 3, "attention": 4, "head": 2, "positions": 2}[site.kind], f"{site} got the shape {tuple(input.shape)}"
        masks[site.name] = site_mask(site, lengths, input.shape)
        return input * (torch.from_numpy(masks[site.name]) * (1 / (1 - p)))

    torch.nn.functional.dropout = dropout
    try:
        yield
    finally:
        torch.nn.functional.dropout = original
    assert not waiting, f"never called: {waiting}"


def write_dropout(family: Family, folder: Path, batch: dict, tensors: dict) -> dict:
    config = family.rates
    if family.prefix == "ModernBert":
        config |= dict(mlp_dropout=HIDDEN_DROPOUT)
    model = load(family, folder, **config).train()
    sites = family.sites(model.config) if family.sites else dropout_sites(family, model.config.num_hidden_layers)
    lengths = [len(row) for row in batch["input_ids"]]
    masks = {}
    with injected_dropout(sites, lengths, masks):
        output = forward_backward(model, batch)
    record_pass("dropout", model, output, tensors)
    if family.embedding_dropout:
        embeddings = [masks["embeddings"][sequence, :length] for sequence, length in enumerate(lengths)]
        tensors["dropout.mask.embeddings"] = torch.from_numpy(np.concatenate(embeddings).astype(np.uint8))  # [tokens, columns]
    first = masks["attention_0"][0, :, : lengths[0], : lengths[0]]
    tensors["dropout.mask.attention_0"] = torch.from_numpy(first.astype(np.uint8))  # [heads, query, key]
    return {
        "seed": DROPOUT_SEED,
        "step": DROPOUT_STEP,
        "config": config,
        "sites": [{"name": site.name, "site": site.site, "p": site.p} for site in sites],
        "batch": batch,
    }


# Writing


def versions() -> dict[str, str]:
    return {"torch": torch.__version__.split("+")[0], "transformers": transformers.__version__, "numpy": np.__version__}


def layered_json(value, depth: int = 3, indent: str = "") -> str:
    """JSON with objects spread over lines down to `depth` and everything else on one line."""
    if not isinstance(value, dict) or depth == 0 or not value:
        return json.dumps(value)
    lines = [f"{indent}  {json.dumps(key)}: {layered_json(item, depth - 1, indent + '  ')}" for key, item in value.items()]
    return "{\n" + ",\n".join(lines) + f"\n{indent}}}"


if __name__ == "__main__":
    main()
