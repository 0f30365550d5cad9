"""--set: what fits is set, what does not is named."""

import dataclasses
from typing import Literal

import pytest

from train.configs import blur_type, kernel_size, region, sharpness, sigma_map
from train.settings import changed


@dataclasses.dataclass(frozen=True)
class Inner:
    width: int = 4
    kind: Literal["a", "b"] = "a"


@dataclasses.dataclass(frozen=True)
class Plan:
    config: Inner = Inner()
    rate: float = 1.0
    name: str = "x"
    on: bool = True
    sizes: tuple[int, ...] = (1, 2)
    pair: tuple[float, float] = (0.0, 1.0)
    most: int | None = 3


def test_values_of_every_type():
    settings = ("config.width=8", "config.kind=b", "rate=2", "name=linear light", "on=False")
    settings += ("sizes=(3,)", "pair=[1, 2]", "most=None")
    assert changed(Plan(), settings) == Plan(
        Inner(8, "b"), 2.0, "linear light", False, (3,), (1.0, 2.0), None
    )
    assert isinstance(changed(Plan(), ("rate=2",)).rate, float)
    assert changed(Plan(), ()) == Plan()


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("rate", "write key=value"),
        ("rat=1", "there is no 'rat'; there are config, rate"),
        ("config.wide=1", "there is no 'wide'; there are width, kind"),
        ("rate=fast", r"'fast' is str, but rate is float \(now 1.0\)"),
        ("config.width=2.5", "2.5 is float, but width is int"),
        ("config.width=True", "True is bool, but width is int"),
        ("on=1", "1 is int, but on is bool"),
        ("config.kind=c", "'c' is str, but kind is"),
        ("sizes=3", "3 is int, but sizes is tuple"),
        ("pair=(1,)", "but pair is tuple"),
        ("config=1", "is several values; set one of config.width, config.kind"),
        ("rate.x=1", "'rate' has no parts"),
    ],
)
def test_mistakes_are_named(setting, message):
    with pytest.raises(ValueError, match=f"--set {setting[:4]}.*{message}"):
        changed(Plan(), (setting,))


@pytest.mark.parametrize("presets", (blur_type, kernel_size, region, sharpness, sigma_map))
def test_every_value_of_every_preset_can_be_set_to_itself(presets):
    for plan in presets.PRESETS.values():
        for field in dataclasses.fields(plan):
            if field.name != "config":
                value = getattr(plan, field.name)
                assert changed(plan, (f"{field.name}={value!r}",)) == plan
