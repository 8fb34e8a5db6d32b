"""A small MLP of ReLU layers without biases, forward and backward to the weights and the input."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from arms import Arm, Cost

TILE = 2**13  # rows; of the sizes tried, torch is fastest where a tile stays in the second-level cache


@dataclass(frozen=True)
class Work:
    rows: int
    backward: bool = True
    widths: tuple[int, ...] = (32, 64, 64, 16)

    def small(self) -> Work:
        return replace(self, rows=2**10)


def inputs(work: Work) -> dict[str, np.ndarray]:
    """x [N, in], grad_out [N, out] and the matrices weight_0 [in, width], …; float32."""
    generator = np.random.default_rng(0)
    x = generator.random((work.rows, work.widths[0]), np.float32)
    grad_out = generator.random((work.rows, work.widths[-1]), np.float32)
    pairs = zip(work.widths[:-1], work.widths[1:], strict=True)
    weights = [(generator.normal(size=pair) / pair[0] ** 0.5).astype(np.float32) for pair in pairs]
    return {"x": x, "grad_out": grad_out} | {f"weight_{i}": w for i, w in enumerate(weights)}


def cost(work: Work) -> Cost:
    """Two flops a weight and row; the backward pass does as many for the weights and as many for the input."""
    passes = 3 if work.backward else 1
    weights = sum(i * o for i, o in zip(work.widths[:-1], work.widths[1:], strict=True))
    flops = 2.0 * weights * work.rows * passes
    return Cost(
        bytes=4.0 * work.rows * (work.widths[0] + work.widths[-1]) * (2 if work.backward else 1),
        flops=flops,
        random_accesses=0.0,
        seconds=lambda limits: limits.multiply_add_seconds(flops),
        counted=f"{2 * weights * passes} flops a row, at the rate of multiply-adds in registers",
    )


def _torch_arm(work: Work, network, tile: int, double: bool = False) -> Arm:
    import torch

    tensors = (torch.from_numpy(v) for v in inputs(work).values())
    x, grad_out, *weights = (v.double() if double else v for v in tensors)
    weights = [w.requires_grad_(work.backward) for w in weights]
    last = {}

    def step():
        last.clear()  # the memory of the last step serves this one
        outs, grads_x, totals = [], [], None
        for rows, cotangent in zip(x.split(tile), grad_out.split(tile), strict=True):
            rows = rows.detach().requires_grad_(work.backward)
            out = network(rows, weights)
            outs.append(out)
            if work.backward:
                grad_x, *grads = torch.autograd.grad(out, (rows, *weights), cotangent)
                grads_x.append(grad_x)
                totals = grads if totals is None else [a.add_(b) for a, b in zip(totals, grads, strict=True)]
        last.update(out=outs, grad_x=grads_x, totals=totals)

    def result():
        values = {"out": torch.cat(last["out"]).detach().numpy()}
        if work.backward:
            values["grad_x"] = torch.cat(last["grad_x"]).numpy()
            values |= {f"grad_weight_{i}": g.numpy() for i, g in enumerate(last["totals"])}
        return values

    return Arm(step, result)


def truth(work: Work) -> dict[str, np.ndarray]:
    """out [N, out], grad_x [N, in] and grad_weight_0 [in, width], …"""
    from nerfcore.ops.mlp import mlp_reference

    arm = _torch_arm(work, mlp_reference, work.rows, double=True)
    arm.step()
    return arm.result()


def nerfcore_arm(work: Work, threads: int) -> Arm:
    from nerfcore.ops.mlp import mlp

    return _torch_arm(work, mlp, work.rows)


def torch_arm(work: Work, threads: int) -> Arm:
    """A loop over tiles of rows, twice to three times as fast as the whole batch at once."""
    from nerfcore.ops.mlp import mlp_reference

    return _torch_arm(work, mlp_reference, TILE)


def drjit_arm(work: Work, threads: int) -> Arm:
    """drjit.nn with cooperative vectors: the whole network is one kernel."""
    from arms.drjit_llvm import drjit_on

    dr = drjit_on(threads)
    from drjit import nn
    from drjit.llvm.ad import ArrayXf, TensorXf

    layers = []
    for width, out in zip(work.widths[:-1], work.widths[1:], strict=True):
        layers += [nn.Linear(width, out, bias=False), nn.ReLU()]
    network = nn.Sequential(*layers[:-1]).alloc(TensorXf, work.widths[0], rng=dr.rng(seed=0))
    data = inputs(work)
    for i in range(len(work.widths) - 1):
        network.layers[2 * i].weights = TensorXf(data[f"weight_{i}"].T.copy())
    network = nn.pack(network, layout="training")
    packed = network.layers[0].weights.buffer
    x, cotangent, last = ArrayXf(data["x"].T.copy()), ArrayXf(data["grad_out"].T.copy()), {}
    dr.eval(x, cotangent, packed)

    def step():
        if work.backward:
            dr.disable_grad(packed, x)
            dr.enable_grad(packed, x)
        out = ArrayXf(network(nn.CoopVec(x)))
        last["out"] = dr.detach(out)
        if work.backward:
            dr.set_grad(out, cotangent)
            dr.enqueue(dr.ADMode.Backward, out)
            dr.traverse(dr.ADMode.Backward)
            last["grad_packed"], last["grad_x"] = dr.grad(packed), dr.grad(x)
        dr.eval(last)
        dr.sync_thread()

    def result():  # the gradient of the weights is in the packed layout and is left out
        return {name: last[name].numpy().T for name in ("out", "grad_x") if name in last}

    return Arm(step, result)


ARMS = {"nerfcore": nerfcore_arm, "torch": torch_arm, "drjit": drjit_arm}
