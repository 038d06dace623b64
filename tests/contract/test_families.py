"""What every member of a family promises; a new file is tested here the moment it exists."""

from __future__ import annotations

import ast
import dataclasses
import inspect
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch

from refinery import registry
from refinery.checks import CheckBatch, CheckContext
from refinery.config import build, to_toml
from refinery.sample import VERDICTS, Label, Pair, Sample
from refinery.training.device import Placement

torch.set_num_threads(1)
MEMBERS = [(family, name) for family in registry.FAMILIES for name in registry.names(family)]


def members(family: str) -> list[str]:
    return list(registry.names(family))


def images(channels: int, batch: int = 2, height: int = 27, width: int = 33) -> torch.Tensor:
    """(B, C, H, W) in [-1, 1], of odd sizes."""
    return torch.rand(batch, channels, height, width, generator=torch.Generator().manual_seed(0)) * 2 - 1


def imports(tree: ast.Module) -> set[str]:
    """Every module that a file imports, at the top or inside a function."""
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative imports hide where they point"
            found |= {f"{node.module}.{alias.name}" for alias in node.names} | {str(node.module)}
    return found


def source(module: ModuleType) -> ast.Module:
    return ast.parse(Path(inspect.getfile(module)).read_text(encoding="utf-8"))


@pytest.mark.parametrize(("family", "name"), MEMBERS)
def test_members_of_one_family_never_import_each_other(family, name):
    siblings = {f"{registry.FAMILIES[family]}.{other}" for other in members(family)} - {
        f"{registry.FAMILIES[family]}.{name}"
    }
    assert not imports(source(registry.find(family, name))) & siblings


@pytest.mark.parametrize(("family", "name"), MEMBERS)
def test_helpers_import_no_member(family, name):
    folder = Path(inspect.getfile(registry.find(family, name))).parent
    member = f"{registry.FAMILIES[family]}.{name}"
    for helper in folder.glob("_[!_]*.py"):
        assert member not in imports(ast.parse(helper.read_text(encoding="utf-8"))), helper.name


@pytest.mark.parametrize(("family", "name"), MEMBERS)
def test_everything_public_says_what_it_is(family, name):
    module = registry.find(family, name)
    public = [n for n in source(module).body if isinstance(n, ast.FunctionDef | ast.ClassDef) and n.name[0] != "_"]
    assert public
    assert ast.get_docstring(source(module))
    for node in public:
        assert ast.get_docstring(node), f"{name}.{node.name} has no docstring"


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("name", members("network"))
def test_networks(name, channels):
    batch = images(channels)
    torch.manual_seed(0)
    network = registry.find("network", name).build(channels).eval()
    with torch.no_grad():
        first, again = network(batch), network(batch)
        single = torch.cat([network(image[None]) for image in batch])
    assert torch.isfinite(first).all()
    assert torch.equal(first, again)
    assert torch.allclose(first, single, atol=1e-5), "one image must not change another"
    if hasattr(network, "receptive_field_px"):  # a refiner
        assert first.shape == batch.shape
        assert first.abs().max() <= 1
        assert network.receptive_field_px > 0
        assert network.cell_px > 0
    else:
        assert first.shape[:2] == (len(batch), 1 if name == "patchgan" else 2)


@pytest.mark.parametrize("name", members("network"))
def test_networks_can_be_trained_from_a_seed(name):
    networks = []
    for _ in range(2):
        torch.manual_seed(3)
        networks.append(registry.find("network", name).build(1).train())
    pairs = zip(networks[0].parameters(), networks[1].parameters(), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)
    networks[0](images(1)).square().mean().backward()
    assert all(
        parameter.grad is not None and torch.isfinite(parameter.grad).all() for parameter in networks[0].parameters()
    )


LOSS_ARGUMENTS = {
    "logits": lambda: torch.randn(2, 2, 3, 4, generator=torch.Generator().manual_seed(0)),
    "target": lambda: 1,
    "refined": lambda: images(3),
    "synthetic": lambda: images(3).flip(0),
    "real": lambda: images(3).flip(0),
    "psi": lambda: torch.nn.Identity(),
    "discriminator": lambda: lambda given: given[:, :2].square(),
    "rotation_logits": lambda: torch.randn(8, 4, generator=torch.Generator().manual_seed(0)),
    "quarter_turns": lambda: torch.arange(8) % 4,
    "moved": lambda: torch.rand(2, 3, generator=torch.Generator().manual_seed(0)) * 2,
}
"""Arguments of losses by name; a new loss with a new argument adds it here."""


@pytest.mark.parametrize("name", members("loss"))
def test_losses(name):
    loss = getattr(registry.find("loss", name), name)
    arguments = {argument: LOSS_ARGUMENTS[argument]() for argument in inspect.signature(loss).parameters}
    first = next(iter(arguments))
    arguments[first].requires_grad_(True)
    value = loss(**arguments)
    assert value.shape == ()
    assert value >= 0
    assert torch.equal(value, loss(**arguments))
    value.backward()
    assert torch.isfinite(arguments[first].grad).all()
    assert arguments[first].grad.abs().sum() > 0
    doubled = {key: torch.cat([v, v]) if isinstance(v, torch.Tensor) else v for key, v in arguments.items()}
    assert torch.allclose(loss(**doubled), value, atol=1e-6), "losses are means: the batch size must not matter"


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("name", members("feature_transform"))
def test_feature_transforms(name, channels):
    module = registry.find("feature_transform", name)
    batch = images(channels).requires_grad_(True)
    psi = module.build(channels, 0)
    features = psi(batch)
    assert features.dim() == 4
    assert len(features) == len(batch)
    assert features.shape[2] <= batch.shape[2]
    assert features.shape[3] <= batch.shape[3]
    assert torch.isfinite(features).all()
    assert torch.equal(features, module.build(channels, 0)(batch))
    assert not list(psi.parameters()), "psi is fixed: it must have nothing to train"
    features.square().mean().backward()
    assert torch.isfinite(batch.grad).all()
    assert torch.isfinite(psi(batch.detach().bfloat16())).all()
    assert torch.isfinite(psi(torch.zeros(1, channels, 8, 8))).all(), "a flat image, of the least size"


@pytest.mark.slow
@pytest.mark.parametrize("name", members("method"))
def test_methods_build_step_and_go_back(name):
    module = registry.find("method", name)
    settings = module.scale(module.Settings(), (36, 60))
    assert dataclasses.is_dataclass(settings)
    assert module.scale(build(module.Settings, {}, {}, name), (36, 60)) == settings
    assert f"[{name}]" in to_toml({name: settings})
    placement = Placement(torch.device("cpu"), False)

    def create():
        torch.manual_seed(0)
        generator = torch.Generator().manual_seed(0)
        return module.create(1, 1, settings, 2, placement, generator)

    method, other = create(), create()
    last = method.total_steps - 1
    losses = method.step(last, lambda: images(1), lambda: images(1).flip(3))
    assert method.phase(last) == "adversarial"
    assert all(value.shape == () and not value.requires_grad and torch.isfinite(value) for value in losses.values())
    other.load_state(method.state())
    rebuilt = module.build_refiner(1, 1, settings)
    rebuilt.load_state_dict(method.refiner.state_dict())
    expected = method.refiner.eval()(images(1))
    assert torch.equal(other.refiner.eval()(images(1)), expected)
    assert torch.allclose(rebuilt.eval()(images(1)), expected, atol=1e-5)


def stack(seed: int, count: int = 6) -> np.ndarray:
    """(N, H, W, C) float32 in [-1, 1]."""
    return np.random.default_rng(seed).uniform(-1, 1, (count, 24, 30, 3)).astype(np.float32)


@pytest.mark.parametrize("name", members("realism"))
def test_realism_measures(name):
    measure = registry.find("realism", name)
    first, other = stack(0), 0.2 * stack(1) + 0.7
    features = [measure.features(one, np.random.default_rng(0)) for one in (first, first, other)]
    assert all(len(one) == len(first) for one in features)
    assert all(np.isfinite(one).all() for one in features)
    assert np.array_equal(features[0], features[1])
    near, far = measure.distance(features[0], features[1]), measure.distance(features[0], features[2])
    assert np.isfinite([near, far]).all()
    assert far > near


def pairs() -> list[Pair]:
    """An image refined into itself, with a label of each geometric kind."""
    image = stack(0, 1)[0]
    labels = (
        Label("point", "keypoint", np.array([15.0, 12.0]), extent_px=6),
        Label("box", "box", np.array([6.0, 6.0, 22.0, 18.0])),
        Label("outline", "polygon", np.array([[6.0, 6.0], [22.0, 6.0], [14.0, 20.0]])),
        Label("kind", "class", np.array([]), text="disc"),
        Label("gaze", "vector", np.array([0.0, 0.0, 1.0]), unit="deg"),
    )
    return [Pair(Sample("a", "a.png"), image, image.copy(), labels)]


@pytest.mark.parametrize("name", members("check"))
def test_checks(name):
    check = registry.find("check", name).check
    context = CheckContext(max_drift={"": 1.0})
    findings, again = (check(CheckBatch(pairs()), context) for _ in range(2))
    assert len(findings) == 1
    assert findings == again
    assert all(found.verdict in VERDICTS for found in findings[0])
    assert not [found for found in findings[0] if found.verdict == "fail"], "an unchanged image fails no label"
