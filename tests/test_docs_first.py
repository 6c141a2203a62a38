"""The code of the README and of the pages that a newcomer opens first runs as it stands."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import handloom as hl
from handloom import nn, optim

ROOT = Path(__file__).parent.parent
PAGES = (
    "README.md",
    *(f"docs/{page}.md" for page in ("conv", "pool", "augmentation", "language", "transfer")),
    "docs/gallery.md",
)


@pytest.mark.parametrize("page", PAGES)
def test_code_runs(page, tmp_path, monkeypatch, capsys):
    pytest.importorskip("sklearn")
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / page).read_text("utf-8"), re.DOTALL)
    assert blocks
    names: dict[str, object] = {"__name__": page}
    for block in blocks:
        if "torchvision" not in block:  # needs weights from elsewhere
            exec(compile(block, page, "exec"), names)


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page):
    here = (ROOT / page).parent
    links = re.findall(r"\]\(([^)#:]+)\)", (ROOT / page).read_text("utf-8"))
    assert [link for link in links if not (here / link).exists()] == []


def test_mistakes_of_the_first_day_are_told_what_to_write(tmp_path):
    model = nn.Linear(2, 2)
    with pytest.raises(TypeError, match=r"params is a Linear, .* model\.parameters\(\)"):
        optim.Adam(model)
    with pytest.raises(TypeError, match=r"write save\(path, model\.state_dict\(\)\)"):
        hl.save(model.state_dict(), tmp_path / "w.safetensors")
    with pytest.raises(ValueError, match=r"unknown op 'conv'; did you mean .*conv2d"):
        hl.kernels.explain("conv", (1, 2))
