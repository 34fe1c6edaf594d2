"""Attributions of Captum on the tiny models of fixtures/<family>/: fixtures/attributions.json.

Usage: python tests/reference/attributions.py

Of every family one text: random tokens between the frame's two. Computed in float64, of a label's logit, for the output of the model's
embeddings: `LayerIntegratedGradients` (Gauss and Legendre's points, padding tokens for a baseline within the same frame) and
`LayerGradientXActivation`, summed over the columns of each token.
"""

import json
from pathlib import Path

import captum
import numpy as np
import torch
import transformers
from captum.attr import LayerGradientXActivation, LayerIntegratedGradients

from encoders import FAMILIES, FIXTURES, load, nothing_narrower

# RoBERTa and its relatives count positions by padding tokens: transformers would move those of a baseline, which is a longer way.
EMBEDDINGS = {
    "bert": lambda model: model.bert.embeddings,
    "electra": lambda model: model.electra.embeddings,
    "distilbert": lambda model: model.distilbert.embeddings,
    "deberta-v2": lambda model: model.deberta.embeddings,
    "deberta-v2-conv": lambda model: model.deberta.embeddings,
    "modernbert": lambda model: model.model.embeddings,
    "qwen2": lambda model: model.model.embed_tokens,
    "gpt_neox": lambda model: model.gpt_neox.embed_in,
}
FRAME = (1, 2)
STEPS = (2, 50)
LABEL = 1


def main() -> None:
    torch.set_num_threads(1)
    reference = {"versions": versions(), "label": LABEL, "frame": FRAME, "families": {}}
    for number, (name, layer_of) in enumerate(EMBEDDINGS.items()):
        model = load(FAMILIES[name], FIXTURES / name)
        with nothing_narrower(model):
            reference["families"][name] = attributions(model, layer_of(model), np.random.default_rng(50 + number))
        print(name)
    (FIXTURES / "attributions.json").write_text(json.dumps(reference, indent=1) + "\n")


def attributions(model, layer, rng: np.random.Generator) -> dict:
    padding = model.config.pad_token_id
    words = rng.choice([token for token in range(3, model.config.vocab_size) if token != padding], 9).tolist()
    ids = torch.tensor([[FRAME[0], *words, FRAME[1]]])
    baseline = torch.tensor([[FRAME[0], *[padding] * len(words), FRAME[1]]])

    def logits(ids: torch.Tensor) -> torch.Tensor:
        # Decoders look for padding to find a text's end; the baseline has one token of it in each place, which are to count.
        model.config.pad_token_id = None if ids.shape[0] == 1 else 10**6
        return model(input_ids=ids, attention_mask=torch.ones_like(ids)).logits

    found = {"words": words, "padding": padding, "integrated_gradients": {}}
    for steps in STEPS:
        method = LayerIntegratedGradients(logits, layer)
        scores = method.attribute(ids, baseline, target=LABEL, n_steps=steps, method="gausslegendre")
        found["integrated_gradients"][steps] = scores.sum(-1)[0].tolist()
    scores = LayerGradientXActivation(logits, layer).attribute(ids, target=LABEL)
    found["gradient_input"] = scores.sum(-1)[0].tolist()
    with torch.no_grad():
        found["logit"], found["baseline"] = (logits(row)[0, LABEL].item() for row in (ids, baseline))
    return found


def versions() -> dict[str, str]:
    return {module.__name__: module.__version__ for module in (captum, torch, transformers)}


if __name__ == "__main__":
    main()
