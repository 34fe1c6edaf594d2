"""The server that serve_load.py compares with: FastAPI and ONNX Runtime, as a careful team would write it: one session on all threads, and a
thread that takes what has queued meanwhile, up to 32 texts, as one padded batch.

    python bench/serve_peer.py FOLDER PORT THREADS

FOLDER holds fused.onnx (or fused-int8.onnx with --int8) and the tokenizer. Answers POST /predict as text-embeddings-inference does.
"""

import asyncio
import json
import queue
import sys
import threading
from pathlib import Path

import numpy as np
import onnxruntime
import uvicorn
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse
from tokenizers import Tokenizer

BATCH = 32
MAX_LENGTH = 128

folder, port, threads = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = threads
options.inter_op_num_threads = 1
file = "fused-int8.onnx" if "--int8" in sys.argv else "fused.onnx"
session = onnxruntime.InferenceSession(str(folder / file), options, providers=["CPUExecutionProvider"])
tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
tokenizer.enable_truncation(MAX_LENGTH)
tokenizer.no_padding()
config = json.loads((folder / "config.json").read_text())
labels = [config["id2label"][str(number)] for number in range(len(config["id2label"]))]
waiting: queue.Queue = queue.Queue()
app = FastAPI()


def work() -> None:
    while True:
        jobs = [waiting.get()]
        while len(jobs) < BATCH:
            try:
                jobs.append(waiting.get_nowait())
            except queue.Empty:
                break
        longest = max(len(ids) for ids, _, _ in jobs)
        ids = np.zeros((len(jobs), longest), np.int64)
        mask = np.zeros_like(ids)
        for row, (text, _, _) in enumerate(jobs):
            ids[row, : len(text)] = text
            mask[row, : len(text)] = 1
        logits = session.run(None, {"input_ids": ids, "attention_mask": mask})[0]
        scores = np.exp(logits - logits.max(1, keepdims=True))
        scores /= scores.sum(1, keepdims=True)
        for (_, future, loop), score in zip(jobs, scores):
            loop.call_soon_threadsafe(future.set_result, score)


@app.post("/predict")
async def predict(request: Request) -> JSONResponse:
    inputs = (await request.json())["inputs"]
    loop = asyncio.get_running_loop()
    texts = [inputs] if isinstance(inputs, str) else [text[0] for text in inputs]
    futures = []
    for text in texts:
        future = loop.create_future()
        waiting.put((tokenizer.encode(text).ids, future, loop))
        futures.append(future)
    answers = []
    for score in await asyncio.gather(*futures):
        order = np.argsort(-score)
        answers.append([{"score": float(score[index]), "label": labels[index]} for index in order])
    return JSONResponse(answers[0] if isinstance(inputs, str) else answers)


@app.get("/health")
async def health() -> JSONResponse:
    return JSONResponse({"status": "ok"})


threading.Thread(target=work, daemon=True).start()
uvicorn.run(app, host="127.0.0.1", port=port, log_level="error", access_log=False)
